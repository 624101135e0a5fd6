/** Makes a testbed with programs on it, says so, and waits until it is ended by a signal. */
import { Testbed } from '@xoffload/testbed'
import { namespaceInode } from '../../src/proc.ts'

const testbed = await Testbed.create({ hosts: ['a', 'b'] })
const program = testbed.host('a').spawn(['/bin/sh', '-c', 'setsid sleep 600 & sleep 600 & echo started; wait'])
await program.line(/started/)
const namespaces = testbed.hosts.map((host) => namespaceInode(host.namespacePath))
process.stdout.write(`${JSON.stringify({ id: testbed.id, namespaces })}\n`)
await new Promise((resolve) => setTimeout(resolve, 60_000))
