/**
 * Ways to break the code that keeps an invariant, for tests of the simulation itself: it has to find each.
 *
 * - `skip-lock` (1): the gateway does not hold the client's packets.
 * - `steer-in-two-steps` (2): the lock is removed first, the rule that steers comes a moment later.
 * - `report-before-active` (3): the gateway's redirector says that it steers, a moment before it does.
 * - `speak-before-commit` (3): the target does not hold, and its socket speaks when it is restored.
 * - `drop-held-packets` (4): what was held is not released.
 * - `lose-unsent-bytes` (4): what the origin's application had written last is not restored.
 * - `thaw-after-commit` (5): the frozen socket of the origin goes on instead of being closed.
 * - `stay-audible` (5): what the frozen socket says is stored, not discarded.
 * - `end-of-queue` (6): the sequence number of the receive queue is that of its end.
 * - `forget-timestamp` (6): the target's timestamp clock begins anew.
 * - `unlock-before-thaw` (7): the lock goes while the socket behind it is still frozen.
 * - `release-before-steer` (7): the origin's socket is closed when its snapshot is taken.
 * - `keep-stale-rule` (8): rules of connections that have ended are not removed.
 * - `skip-reconciliation` (8): a gateway's new process does not compare its rules with what the servers have.
 * - `thaw-behind-silence` (8): the gateway thaws a connection behind a lock that says that its target may get it.
 * - `thaw-for-reset` (8): a connection that is given up, and that another program has too, is thawed to be reset.
 * - `reuse-epoch` (8): a gateway's new process has the epoch of the one before, so that stale messages count.
 */
export const SABOTAGES = [
  'skip-lock',
  'steer-in-two-steps',
  'report-before-active',
  'speak-before-commit',
  'drop-held-packets',
  'lose-unsent-bytes',
  'thaw-after-commit',
  'stay-audible',
  'end-of-queue',
  'forget-timestamp',
  'unlock-before-thaw',
  'release-before-steer',
  'keep-stale-rule',
  'skip-reconciliation',
  'thaw-behind-silence',
  'thaw-for-reset',
  'reuse-epoch',
] as const

/** One of {@link SABOTAGES}. */
export type Sabotage = (typeof SABOTAGES)[number]
