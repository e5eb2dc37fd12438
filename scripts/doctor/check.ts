/** One line of the doctor's table. */
export interface Check {
  name: string;
  /** `ok`; `wrong`: something needed is not right; `optional`: worth having, nothing fails. */
  status: 'ok' | 'wrong' | 'optional';
  /** The finding: a version, a path, or the fault. */
  found: string;
  /** The remedy, one line; undefined when all is well. */
  fix?: string;
}

/** For each program that a check runs: processor time, because a machine under load answers late. */
export const patience = { cpu: 20, idle: 20 };

/** All is well. */
export function ok(name: string, found: string): Check {
  return { name, status: 'ok', found };
}

/** Something needed is not right. */
export function wrong(name: string, found: string, fix: string): Check {
  return { name, status: 'wrong', found, fix };
}

/** Something worth having is not there. */
export function optional(name: string, found: string, fix: string): Check {
  return { name, status: 'optional', found, fix };
}
