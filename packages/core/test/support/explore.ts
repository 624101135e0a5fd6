/** Visits every node that can be reached from the first ones, each once. Throws when there are more than `limit`. */
export function explore<N>(
  first: N[],
  keyOf: (node: N) => string,
  successors: (node: N) => Iterable<N>,
  limit = 200_000,
): N[] {
  const seen = new Map<string, N>()
  const queue: N[] = []
  const visit = (node: N): void => {
    const key = keyOf(node)
    if (seen.has(key)) return
    if (seen.size >= limit) throw new Error(`more than ${limit} states`)
    seen.set(key, node)
    queue.push(node)
  }
  for (const node of first) visit(node)
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) for (const next of successors(node)) visit(next)
  return [...seen.values()]
}
