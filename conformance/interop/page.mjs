// The page of `sockeye serve`, as the scripts for Chromium see it.
import { equal, until } from "./checks.mjs";
import { Tab } from "./chromium.mjs";

// The coordinates that drawing commands use, however large the canvas is shown.
const SPACE = { width: 480, height: 300 };

/** The page of `sockeye serve`: a counter, and a canvas. */
export class Page extends Tab {
  async count() {
    const text = await this.text("counter");
    const digits = text.replace(/\D/g, "");
    return digits === "" ? -1 : Number(digits);
  }

  /** Draws through points of the canvas' own space: with the mouse, or a finger. */
  async draw(points, finger = false) {
    const { left, top, width, height } = await this.rectangle("canvas");
    const places = points.map(([x, y]) => [left + (x / SPACE.width) * width, top + (y / SPACE.height) * height]);
    const touch = (type, at) => this.call("Input.dispatchTouchEvent", { type, touchPoints: at ? [{ x: at[0], y: at[1] }] : [] });
    if (finger) await touch("touchStart", places[0]);
    else await this.mouse("mousePressed", ...places[0]);
    for (const place of places.slice(1)) await (finger ? touch("touchMove", place) : this.mouse("mouseMoved", ...place));
    if (finger) await touch("touchEnd");
    else await this.mouse("mouseReleased", ...places.at(-1));
  }

  /** The colour at a point of the canvas' space. */
  colour([x, y]) {
    return this.evaluate(`(() => {
      const canvas = document.getElementById("canvas");
      const [across, down] = [canvas.width / ${SPACE.width}, canvas.height / ${SPACE.height}];
      return [...canvas.getContext("2d").getImageData(${x} * across, ${y} * down, 1, 1).data.slice(0, 3)];
    })()`);
  }

  /** For each point of the canvas' space, what the pixels around it are: a number that changes when one of them does. */
  pixels(points) {
    return this.evaluate(`(() => {
      const canvas = document.getElementById("canvas");
      const context = canvas.getContext("2d");
      const [across, down] = [canvas.width / ${SPACE.width}, canvas.height / ${SPACE.height}];
      return ${JSON.stringify(points)}.map(([x, y]) => {
        const reach = 4;
        const { data } = context.getImageData((x - reach) * across, (y - reach) * down, 2 * reach * across, 2 * reach * down);
        return data.reduce((sum, value) => (Math.imul(sum, 31) + value) | 0, 17);
      });
    })()`);
  }
}

/** Points between two others, the ends apart. */
export function between([x, y], [toX, toY], count = 12) {
  return Array.from({ length: count }, (_, i) => {
    const part = (i + 1) / (count + 1);
    return [Math.round(x + (toX - x) * part), Math.round(y + (toY - y) * part)];
  });
}

/** A stroke drawn in one window has to be seen in both, along its whole length, and nothing beside it. */
export async function stroke(source, target, from, to, finger) {
  const path = between(from, to);
  const beside = path.map(([x, y]) => [x, y + 60]);
  const before = await Promise.all([source, target].flatMap((tab) => [tab.pixels(path), tab.pixels(beside)]));
  await source.draw([from, ...path, to], finger);
  for (const [tab, blank, still] of [[target, before[2], before[3]], [source, before[0], before[1]]]) {
    await until("the stroke along its whole length", async () => {
      const now = await tab.pixels(path);
      return now.every((sum, i) => sum !== blank[i]);
    });
    equal(await tab.pixels(beside), still);
  }
}
