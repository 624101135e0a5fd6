import { expect, test } from 'bun:test'
import { problemsIn } from '../../src/guest/kernel-log.ts'

test.each([
  'WARNING: CPU: 1 PID: 212 at net/core/dev.c:10878 unregister_netdevice_many+0x6d1/0x7b0',
  'BUG: kernel NULL pointer dereference, address: 0000000000000010',
  'Oops: 0000 [#1] PREEMPT SMP PTI',
  'refcount_t: underflow; use-after-free.',
  'unregister_netdevice: waiting for xn0p0 to become free. Usage count = 2',
  'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
  'rcu: INFO: rcu_preempt self-detected stall on CPU',
  'watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [tc:311]',
  'INFO: task kworker/0:1:14 blocked for more than 120 seconds.',
  'BUG skbuff_head_cache (Tainted: G OE): Object already free',
])('the kernel complains: %s', (line) => {
  expect(
    problemsIn(0, `IPv6: eth0: link becomes ready\n${line}\nbr0: port 1(client) entered forwarding state\n`),
  ).toEqual([line])
})

test('an ordinary log, and the taint of a module from elsewhere, are no complaint', () => {
  const log = [
    'tsc: Fast TSC calibration failed',
    'pci 0000:00:1f.2: BAR 5: assigned',
    'DEBUG: nothing',
    'xoffload_nic: module verification failed: signature and/or required key missing - tainting kernel',
  ]
  expect(problemsIn((1 << 12) | (1 << 13), log.join('\n'))).toEqual([])
})

test('a taint tells when the message was overwritten', () => {
  expect(problemsIn(1 << 9, '')).toEqual([expect.stringContaining('warning')])
})
