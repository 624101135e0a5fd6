import type { HybridStatistics } from '@xoffload/core'
import { Counter, Gauge, type Registry } from 'prom-client'

const MICROSECONDS = 1e-6

/** Labels and a value. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number]

interface HardwareMetric {
  readonly name: string
  readonly help: string
  readonly kind: typeof Counter | typeof Gauge
  readonly labels: readonly string[]
  readonly samples: (statistics: HybridStatistics) => readonly Sample[]
}

const METRICS: readonly HardwareMetric[] = [
  {
    name: 'xoffload_hardware_rules',
    help: 'Flows that have a rule in hardware.',
    kind: Gauge,
    labels: [],
    samples: ({ offloaded }) => [[{}, offloaded]],
  },
  {
    name: 'xoffload_hardware_promotions_total',
    help: 'Rules that the hardware has taken.',
    kind: Counter,
    labels: [],
    samples: ({ promoted }) => [[{}, promoted]],
  },
  {
    name: 'xoffload_hardware_demotions_total',
    help: 'Rules that were taken out of the hardware and stayed in software.',
    kind: Counter,
    labels: ['reason'],
    samples: ({ demoted }) => Object.entries(demoted).map(([reason, count]) => [{ reason }, count]),
  },
  {
    name: 'xoffload_hardware_passed_over_total',
    help: 'Flows that were worth a rule in hardware, while it was full or left alone after a failure.',
    kind: Counter,
    labels: [],
    samples: ({ passedOver }) => [[{}, passedOver]],
  },
  {
    name: 'xoffload_hardware_commands_total',
    help: 'What has become of the commands for the hardware.',
    kind: Counter,
    labels: ['command', 'result'],
    samples: ({ queue }) => [
      ...samplesOf('insert', {
        done: queue.inserted,
        failed: queue.failedInsertions,
        cancelled: Object.values(queue.cancelled).reduce((sum, count) => sum + count, 0),
        replaced: queue.replaced,
        refused: queue.refused,
        expired: queue.expired,
      }),
      ...samplesOf('remove', { done: queue.removed, failed: queue.failedRemovals, unproven: queue.unproven }),
    ],
  },
  {
    name: 'xoffload_hardware_waiting_commands',
    help: 'Commands for the hardware that wait.',
    kind: Gauge,
    labels: ['command'],
    samples: ({ queue }) => [
      [{ command: 'insert' }, queue.waitingInsertions],
      [{ command: 'remove' }, queue.waitingRemovals],
    ],
  },
  {
    name: 'xoffload_hardware_command_seconds',
    help: 'How long commands for the hardware have waited and taken since the start.',
    kind: Gauge,
    labels: ['command', 'phase', 'quantile'],
    samples: ({ queue }) => [
      ...quantiles('insert', 'waiting', queue.insertionWait),
      ...quantiles('insert', 'execution', queue.insertionTime),
      ...quantiles('remove', 'waiting', queue.removalWait),
      ...quantiles('remove', 'execution', queue.removalTime),
    ],
  },
  {
    name: 'xoffload_hardware_stalled',
    help: 'Whether the hardware has not answered a command within its time limit.',
    kind: Gauge,
    labels: [],
    samples: ({ queue }) => [[{}, Number(queue.stalled)]],
  },
]

/** Adds what a hybrid redirector counts. `statistics` answers undefined as long as nothing was counted. */
export function addHardwareMetrics(registry: Registry, statistics: () => HybridStatistics | undefined): void {
  for (const { name, help, kind, labels, samples } of METRICS) {
    new kind({
      name,
      help,
      labelNames: [...labels],
      registers: [registry],
      collect() {
        this.reset()
        const now = statistics()
        for (const [sample, value] of now === undefined ? [] : samples(now)) this.inc({ ...sample }, value)
      },
    })
  }
}

function samplesOf(command: string, results: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(results).map(([result, count]) => [{ command, result }, count])
}

function quantiles(command: string, phase: string, { p50, p99 }: { p50: number; p99: number }): Sample[] {
  return [
    [{ command, phase, quantile: '0.5' }, p50 * MICROSECONDS],
    [{ command, phase, quantile: '0.99' }, p99 * MICROSECONDS],
  ]
}
