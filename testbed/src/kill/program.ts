/**
 * A gateway or a server agent that kills itself (SIGKILL) at a point of a handoff, a program of its own:
 *
 *     bun program.ts gateway|server FILE POINT
 *
 * POINT is `put:RULE` (the rule is in force: `hold`, `silent`, `steer`), `remove` (a rule is removed), `send:MESSAGE` (about to send one),
 * `sent:MESSAGE` (it has left), or `receive:MESSAGE` (it has arrived and means nothing yet). SIGUSR1 arms the point;
 * the program then prints `{"event":"armed"}`.
 */
import type { ListedRule, OperationOptions, PutOutcome, Redirector, Rule } from '@xoffload/core'
import { TcRedirector } from '@xoffload/redirect-ebpf'
import { ControlChannel, Gateway, loadConfig, ServerAgent } from 'xoffload'

const [role = '', file = '', point = ''] = process.argv.slice(2)
let armed = false

process.on('SIGUSR1', () => {
  armed = true
  process.stdout.write(`${JSON.stringify({ event: 'armed' })}\n`)
})

function reach(name: string): void {
  if (armed && name === point) process.kill(process.pid, 'SIGKILL')
}

function ruleName(rule: Rule): string {
  return rule.action === 'hold' && rule.silent ? 'silent' : rule.action
}

/** A redirector that tells what it has done. */
class Observed implements Redirector {
  readonly #inner: TcRedirector

  constructor(inner: TcRedirector) {
    this.#inner = inner
  }

  get manifest(): Redirector['manifest'] {
    return this.#inner.manifest
  }

  open(options?: OperationOptions): Promise<void> {
    return this.#inner.open(options)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  release(): Promise<void> {
    return this.#inner.release()
  }

  put(rule: Rule, options?: OperationOptions): Promise<PutOutcome> {
    const done = this.#inner.put(rule, options)
    reach(`put:${ruleName(rule)}`)
    return done
  }

  remove(...args: Parameters<Redirector['remove']>): Promise<boolean> {
    const done = this.#inner.remove(...args)
    reach('remove')
    return done
  }

  counters(...args: Parameters<Redirector['counters']>): ReturnType<Redirector['counters']> {
    return this.#inner.counters(...args)
  }

  list(options?: OperationOptions): AsyncIterable<ListedRule> {
    return this.#inner.list(options)
  }
}

/** The message of a `sent:` point is on its way. */
let left = false

/**
 * What one turn of the event loop sends has left when the next one comes, and is given a moment to arrive. This process must be dead before it
 * hears what comes of it, however late the moment ends on a busy machine.
 */
function leave(): void {
  left = true
  setTimeout(() => reach(point), 2)
}

const { send, receive } = ControlChannel.prototype
ControlChannel.prototype.send = function (message) {
  reach(`send:${message.type}`)
  send.call(this, message)
  if (armed && point === `sent:${message.type}`) setImmediate(leave)
}
ControlChannel.prototype.receive = function (message) {
  if (left) reach(point)
  reach(`receive:${message.type}`)
  receive.call(this, message)
}

if (role === 'gateway') {
  const config = await loadConfig('gateway', file)
  await Gateway.start(config, { redirector: new Observed(new TcRedirector({ device: config.device })) })
} else {
  const config = await loadConfig('server', file)
  await ServerAgent.start(config, { redirector: new Observed(new TcRedirector({ device: config.device })) })
}
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`)
