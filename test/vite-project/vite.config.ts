import { defineConfig } from "vite";

const hawser = { target: "http://localhost:50051", ws: true };

export default defineConfig({ server: { proxy: { "/hawser": hawser } } });
