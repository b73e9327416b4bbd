// The file that thread.ts starts as a worker. It is JavaScript so that it has the same name in src/
// and in the published package.
import "./worker-main.ts";
