import type { MacAddress, OffloadKind, RedirectorManifest, SteerRule } from '@xoffload/core'
import type { DeviceFeatures, DriverInformation, EswitchMode, FlowerOffload } from '@xoffload/linux'

/** What can be known of a device before it is asked to take a rule. */
export interface DeviceDescription {
  readonly name: string
  readonly ifindex: number
  readonly mac: MacAddress
  /** Administratively up. */
  readonly up: boolean
  /** Undefined when the driver does not say (ETHTOOL_GDRVINFO). */
  readonly driver: DriverInformation | undefined
  /** Undefined when the kernel has no ethtool netlink. */
  readonly features: DeviceFeatures | undefined
  /** The mode of the NIC's embedded switch; undefined when the device is not known to devlink. */
  readonly eswitchMode: EswitchMode | undefined
  /** The devlink parameter `flow_steering_mode`: `dmfs`, `smfs`, `hmfs`; undefined when the device has none. */
  readonly steeringMode: string | undefined
  /** What the switch calls the port, such as `p0` (/sys/class/net/DEVICE/phys_port_name); undefined when it says nothing. */
  readonly portName: string | undefined
}

/** What a kind of NIC can do, and how it is to be treated. */
export interface FlowerProfile {
  /** The manifest's. */
  readonly name: string
  readonly offload: OffloadKind
  /** Who executes the rules. `skip-software` makes a refusal by the NIC an error; without it the kernel would take over in silence. */
  readonly execution: FlowerOffload
  readonly families: RedirectorManifest['families']
  readonly steerModes: RedirectorManifest['steerModes']
  /** The number of flows. */
  readonly capacity: number
  readonly expected: RedirectorManifest['expected']
  /** Whether the NIC's count of bytes begins with the Ethernet header; otherwise with the IP header. */
  readonly countsLinkHeader: boolean
  /** Why the NIC is known not to do what the rule wants, undefined when nothing is known against it. */
  readonly objection?: (rule: SteerRule) => string | undefined
}

/** What a profile depends on besides the device. */
export interface ProfileRequest {
  /** The device that steered packets leave by, if it is another one. */
  readonly output: DeviceDescription | undefined
  /** The tunnel device for steering in mode `vxlan`, if there is one. */
  readonly tunnel: string | undefined
}

/**
 * Looks at a device and says how to treat it. Throws a `RedirectorError` `unsupported` that says what to do when it is the wrong
 * device, or not set up.
 */
export type FlowerHardware = (device: DeviceDescription, request: ProfileRequest) => FlowerProfile
