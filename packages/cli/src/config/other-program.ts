import { readFileSync } from 'node:fs'
import { type TArray, type TString, Type } from '@sinclair/typebox'
import type { Resolver } from './resolve.ts'

// What the configuration says of a program that is not ours and connects to us on this host, such as nginx.

/** The longest path of a socket, bytes: `sun_path` has 108 (unix(7)), of which one is for the zero at the end. */
const LONGEST_PATH = 107
/** Accounts of this host, one a line (passwd(5)). */
const ACCOUNTS = '/etc/passwd'
const expectedUser = 'the name of a user in /etc/passwd, or a number'

/** The path of a Unix socket that is made here. */
export function socketFile(description: string): TString {
  return Type.String({ minLength: 1, expected: 'the path of a socket', description })
}

/** Users of this host. */
export function userNames(description: string): TArray<TString> {
  return Type.Array(Type.String({ minLength: 1, expected: expectedUser }), { description })
}

/** A socket's absolute path. */
export function resolveSocket(key: string, text: string, resolver: Resolver): string {
  const path = resolver.path(text)
  const bytes = Buffer.byteLength(path)
  if (bytes > LONGEST_PATH)
    resolver.problem(key, `expected a path of at most ${LONGEST_PATH} bytes, found one of ${bytes}`)
  return path
}

/** The users' numbers (uid). */
export function resolveUsers(key: string, users: readonly string[], resolver: Resolver): number[] {
  return users.map((user, index) => {
    const uid = uidOf(user)
    if (uid === undefined)
      resolver.problem(`${key}[${index}]`, `expected ${expectedUser}, found ${JSON.stringify(user)}`)
    return uid ?? -1
  })
}

function uidOf(user: string): number | undefined {
  if (/^[0-9]{1,10}$/.test(user)) return Number(user)
  const accounts = readFileSync(ACCOUNTS, 'utf8').split('\n')
  const [, , uid] = accounts.map((line) => line.split(':')).find(([name]) => name === user) ?? []
  return uid === undefined ? undefined : Number(uid)
}
