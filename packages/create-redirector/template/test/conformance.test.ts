import { describe, test } from 'bun:test'
import { redirectorSuite } from '@xoffload/core/conformance'
import { device } from './device.ts'

redirectorSuite({ name: 'my-card', test, describe, factory: device })
