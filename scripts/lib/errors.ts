import { FAILED } from './status.ts';

/** What a Failure may carry beside its message. */
export interface FailureOptions {
  /** What the reader can do about it, one line. */
  hint?: string;
  /** Exit status of the command: 125 unless said otherwise (126 not executable, 127 not found). */
  code?: number;
  cause?: unknown;
}

/**
 * An error that the user can fix: thrown anywhere, caught once in cli.ts, printed in two lines
 * without a stack. Any other error is a bug and shows its stack.
 */
export class Failure extends Error {
  readonly hint: string | undefined;
  readonly code: number;

  constructor(message: string, options: FailureOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'Failure';
    this.hint = options.hint;
    this.code = options.code ?? FAILED;
  }
}

/** What the system said, without its code, call and path: `permission denied`. */
export function reasonOf(cause: unknown): string {
  const { message } = cause as Error;
  return /^E[A-Z0-9]+: ([^,]+)/.exec(message)?.[1] ?? message;
}

/** The two lines that a Failure prints (one when it has no hint). */
export function describeFailure(failure: Failure): string {
  const hint = failure.hint === undefined ? '' : `\n  ${failure.hint}`;
  return `libmalloc: ${failure.message}${hint}`;
}
