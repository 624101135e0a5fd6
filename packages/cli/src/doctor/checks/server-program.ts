import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatEndpoint } from '@xoffload/core'
import { explainListener, preloadLibrary } from '@xoffload/proxy-adapters/preload'
import { errorText } from '../../runtime/log.ts'
import { type Check, failed, ok, type Result, warning, worst } from '../check.ts'

/** Bits of a mode (inode(7)): others may enter; group or others may write. */
const ENTER = 0o001
const WRITE = 0o022

/** A server program can be given connections: the library is there, the socket's folder is safe, and the program has the library. */
export const serverProgramCheck: Check = {
  name: 'server program',
  run({ role, config }) {
    const program = role === 'server' ? config?.application.program : undefined
    if (program === undefined) return undefined
    const { adapter, socket, listener } = program
    const folder = folderResult(dirname(socket), adapter)
    if (listener === undefined) return folder ?? ok(`nginx can enter the folder of ${socket}`)
    const library = preloadLibrary()
    return worst([
      folder,
      programResult(explainListener(listener)),
      ok(`${library} is there, and the program at ${formatEndpoint(listener)} has it`),
    ])
  },
}

/** Whoever can write to the folder can put another socket in the place of the agent's. */
function folderResult(folder: string, adapter: string): Result | undefined {
  const mode = modeOf(folder)
  if (typeof mode === 'string')
    return warning(`the folder of application.${adapter}.socket: ${mode}; the systemd unit makes /run/xoffload`)
  if ((mode & WRITE) !== 0) return failed(`others may write to ${folder}: chmod go-w ${folder}`)
  if ((mode & ENTER) === 0) return failed(`processes of other users cannot enter ${folder}: chmod o+x ${folder}`)
  return undefined
}

function modeOf(folder: string): number | string {
  try {
    return statSync(folder).mode
  } catch (error) {
    return errorText(error)
  }
}

/** What is wrong with who listens; that there is nothing wrong but that it has not answered is in order: nobody has asked. */
function programResult({ reason, message }: ReturnType<typeof explainListener>): Result | undefined {
  if (reason === 'timeout') return undefined
  return reason === 'not-loaded'
    ? failed(`${message}; "xoffload preload" prints a systemd drop-in for that`)
    : warning(message)
}
