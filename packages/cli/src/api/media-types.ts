/** The media type of one JSON text a line. */
export const LINES = 'application/x-ndjson'

/** The media type of server-sent events. */
export const EVENTS = 'text/event-stream'
