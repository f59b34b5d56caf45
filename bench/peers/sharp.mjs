// Clean copies of photos by sharp, as its documentation has it done well: decoded once, shrunk on load, one thread.
// Arguments: folder of photos, folder for the copies, repetitions, WebP method.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(new URL("./sharp/package.json", import.meta.url));
const sharp = require("sharp");
sharp.concurrency(1);
sharp.cache(false);

const [photos, out, repeats, effort] = process.argv.slice(2);

async function pixels(input, options, size) {
  const made = await sharp(input, options)
    .autoOrient()
    .resize(size, size, { fit: "inside", withoutEnlargement: true })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = made.info;
  return [made.data, { raw: { width, height, channels } }];
}

async function copies(content) {
  const large = await pixels(content, undefined, 1600);
  const thumb = await pixels(...large, 400);
  const jpeg = (image, quality) => sharp(...image).jpeg({ quality, optimiseCoding: false }).toBuffer();
  const webp = (image) => sharp(...image).webp({ quality: 82, effort: Number(effort) }).toBuffer();
  return {
    "large.jpeg": await jpeg(large, 90),
    "large.webp": await webp(large),
    "thumb.jpeg": await jpeg(thumb, 82),
    "thumb.webp": await webp(thumb),
  };
}

for (let turn = 0; turn < Number(repeats); turn++) {
  for (const name of fs.readdirSync(photos).sort()) {
    for (const [copy, content] of Object.entries(await copies(fs.readFileSync(path.join(photos, name))))) {
      fs.writeFileSync(path.join(out, `${path.parse(name).name}-${copy}`), content);
    }
  }
}
