import type { WriteStream } from 'node:tty';
import pc from 'picocolors';

type Colors = ReturnType<typeof pc.createColors>;

/** Colour only on a terminal, and not if NO_COLOR is set. */
function paint(stream: Pick<WriteStream, 'isTTY'>): Colors {
  const env = process.env;
  return pc.createColors(stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb');
}

/** Colours for standard output. */
export const color: Colors = paint(process.stdout);

/** Colours for standard error. */
export const errorColor: Colors = paint(process.stderr);
