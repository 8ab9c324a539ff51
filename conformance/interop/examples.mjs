// What the scripts share that try the examples of HTTP sessions: each starts its own, from the folder EXAMPLES.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** An example on a free port of 127.0.0.1. It serves until `stop` kills it. */
export async function example(name, ...words) {
  const child = spawn(join(process.env.EXAMPLES, name), [...words, "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = [];
  const url = await new Promise((resolve, reject) => {
    child.once("error", reject);
    ended.then(() => reject(new Error(`the example ${name} ended`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line);
      const found = /^listening on (http:\S+)$/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  const stop = () => { child.kill("SIGTERM"); return ended; };
  return { url, lines, stop };
}
