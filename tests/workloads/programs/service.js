// service.js N: what a web service does all day, without the network: JSON, buffers, streams, maps.
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';

const requests = Number(process.argv[2]);
const sessions = new Map();
const hash = createHash('sha256');
let seed = 1;
const draw = (below) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return (seed >>> 8) % below;
};

for (let i = 0; i < requests; i++) {
  const user = `user-${draw(3000)}`;
  const body = {
    user,
    i,
    items: Array.from({ length: draw(30) }, (_, k) => ({ k, price: draw(999) })),
  };
  const packed = gzipSync(JSON.stringify(body), { level: 1 });
  const parsed = JSON.parse(gunzipSync(packed).toString());
  const blob = Buffer.alloc(512 + draw(16384), parsed.i & 255);
  sessions.set(user, { parsed, blob });
  if (i % 50 === 0) sessions.delete(`user-${draw(3000)}`);
  hash.update(blob).update(parsed.user);
}
let bytes = 0;
for (const { blob } of sessions.values()) bytes += blob.length;
console.log(sessions.size, bytes, hash.digest('hex'));
