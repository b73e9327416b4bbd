import { caller } from "./calls.ts";
import { drive } from "./drive.ts";

drive((address) => caller(address, true));
