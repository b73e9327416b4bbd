// What thread.ts starts. JavaScript, so that its name is the same in src/ as in what is published.
import "./worker-main.ts";
