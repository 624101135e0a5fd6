/** Lets everything else that waits for the event loop have its turn: packets and handoffs go before lists. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
