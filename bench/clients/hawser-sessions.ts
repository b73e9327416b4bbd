import { caller } from "./calls.ts";
import { drive } from "./drive.ts";

drive((target) => caller(target, true));
