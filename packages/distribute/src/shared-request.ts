/** The coordinator's side of one request: deals input out by a plan, gathers rows, tokens and accounts. */
import {
  checkOptions,
  type DeviceReport,
  type Emitted,
  type GenerateOptions,
  type Model,
  type Part,
  type Report,
  type Request,
  StageMeter,
  totals,
  type Want,
} from '@prismal/models'
import { MemoryError, type PeakWatch, type Scope, type Tensor } from '@prismal/tensor'
import { type Asked, expectTaken } from './checks.js'
import type { SharedRunner } from './cluster.js'
import { outputRows } from './cost.js'
import type { Devices } from './devices.js'
import { ConnectionError, DeviceError } from './errors.js'
import { estimate } from './estimate.js'
import { gathered } from './gathered.js'
import { type DoneMessage, type ErrorMessage, packParts, type RunMessage, type TokenMessage } from './messages.js'
import type { SharingOptions } from './options.js'
import { partFor } from './parts.js'
import { createPlan, type Plan } from './plan.js'
import { dataBytes, type Frame, frame } from './wire.js'

/** What is asked of the devices, besides what the plan says. */
type Question = Pick<Asked, 'want' | 'decodes' | 'output' | 'generate' | 'seen'>

interface Account {
  inputBytes: number
  outputBytes: number
  done?: DoneMessage
}

export class SharedRequest implements Request {
  readonly scope: Scope
  readonly meter = new StageMeter()
  readonly #runner: SharedRunner
  readonly #model: Model
  readonly #devices: Devices
  readonly #signal: AbortSignal | undefined
  #started = performance.now()
  #options: SharingOptions
  readonly #peak: PeakWatch
  readonly #accounts: Account[]
  #plan: Plan | undefined

  constructor(runner: SharedRunner, devices: Devices, signal: AbortSignal | undefined) {
    this.#runner = runner
    this.#model = runner.model
    this.#options = runner.options
    this.#devices = devices
    this.#signal = signal
    this.scope = runner.model.engine.scope(this.meter)
    this.#peak = runner.model.engine.arena.watch()
    this.#accounts = runner.members.map(() => ({ inputBytes: 0, outputBytes: 0 }))
  }

  /** The plan of the last `rows` or `tokens`. */
  get plan(): Plan | undefined {
    return this.#plan
  }

  async rows(sequences: readonly Part[], want: Want): Promise<Tensor> {
    const output = want === 'mean' ? 'mean' : 'rows'
    const asked: Question = { want, decodes: false, output }
    const plan = await this.#makePlan(sequences, asked)
    const width = this.#model.shape.width
    const pieces: Float32Array[] = Array.from({ length: plan.devices }, () => new Float32Array(0))
    for await (const { device, frame } of this.#frames(plan, sequences, asked))
      if (frame.kind === 'output') pieces[device] = floats(frame.data)
    for (const [device, { length }] of pieces.entries()) {
      const due = outputRows(plan, device, output) * width
      if (length !== due) throw this.#failed(device, `${length} values of rows came where ${due} were asked for`)
    }
    return gathered(this.scope, plan, pieces, width, output)
  }

  async *tokens(prompts: readonly Part[], options: GenerateOptions): AsyncGenerator<Emitted> {
    checkOptions(options)
    const { positions } = this.#model.shape
    const looksBack = (options.sampling?.repetitionPenalty ?? 1) !== 1
    const seen = looksBack ? { seen: prompts.map(p => [...(p.ids as Int32Array)]) } : {}
    const asked: Question = {
      want: 'last',
      decodes: true,
      output: 'tokens',
      generate: forDevices(options, positions),
      ...seen,
    }
    const plan = await this.#makePlan(prompts, asked)
    for await (const { device, frame } of this.#frames(plan, prompts, asked)) {
      if (frame.kind !== 'token') continue
      const token = frame.json as TokenMessage
      if (token.sequence >= prompts.length)
        throw this.#failed(device, `a token of prompt ${token.sequence} came; there are ${prompts.length}, from 0`)
      yield { ...token, ...(options.withLogits && { logits: floats(frame.data) }) }
    }
  }

  report(): Report {
    const milliseconds = performance.now() - this.#started
    const devices = this.#runner.members.map(({ name }, p): DeviceReport => {
      const account = this.#accounts[p] as Account
      const { stages = [], rows = 0, peakBytes = 0, milliseconds = 0 } = account.done ?? {}
      const { inputBytes, outputBytes } = account
      return { device: name, rows, stages, ...totals(stages), inputBytes, outputBytes, peakBytes, milliseconds }
    })
    const heads = this.meter.stages.filter(s => s.flops > 0)
    if (heads.length > 0) devices.push(this.#coordinator(heads))
    return {
      strategy: this.#plan?.strategy ?? 'means',
      devices,
      milliseconds,
      deviations: this.#deviations(),
    }
  }

  #deviations(): string[] {
    const lost = this.#plan?.lost
    const silent = this.#accounts.flatMap(({ done }, p) => (done ? [] : [p]))
    return [
      ...this.#runner.notes,
      ...(lost ? [`nothing was heard of device ${lost[0]} from layer ${lost[1]} on`] : []),
      ...(silent.length > 0 ? [`the request ended before device ${silent.join(', ')} gave its account`] : []),
    ]
  }

  end(): void {
    this.#peak.end()
    this.scope.dispose()
  }

  /** The head runs where the request was made. */
  #coordinator(stages: StageMeter['stages']): DeviceReport {
    return {
      device: 'coordinator',
      rows: 0,
      stages,
      ...totals(stages),
      inputBytes: 0,
      outputBytes: 0,
      peakBytes: this.#peak.bytes,
      milliseconds: 0,
    }
  }

  async #makePlan(sequences: readonly Part[], { want, decodes }: Question): Promise<Plan> {
    for (const sequence of sequences) this.#model.check(sequence)
    const { shape } = this.#model
    const rows = sequences.map(s => s.to)
    const { devices, decide } = this.#runner
    if (decide) {
      this.#options = await decide({ rows, want, decodes }, this.#signal)
      // What it takes to decide, measuring perhaps, is not the request's time.
      this.#started = performance.now()
    }
    this.#plan = createPlan({ shape, rows, want, devices, decodes }, this.#options)
    return this.#plan
  }

  /** Sends every device its share and gives the frames that come back, until all are done. */
  async *#frames(
    plan: Plan,
    sequences: readonly Part[],
    asked: Question,
  ): AsyncGenerator<{ device: number; frame: Frame }> {
    this.#signal?.throwIfAborted()
    const rows = plan.sequences.map(s => s.rows)
    const run: Asked = { ...asked, rows, devices: plan.devices, options: this.#options }
    expectTaken(run)
    await this.#expectRoom(plan, asked)
    const queue = new FrameQueue()
    const request = await this.#devices.run(
      {
        onFrame: (device, frame) => queue.push({ device, frame }),
        onFailure: error => queue.fail(error),
        uses: device => device < plan.devices,
      },
      this.#signal,
    )
    const onAbort = (): void => queue.fail(this.#signal?.reason)
    this.#signal?.addEventListener('abort', onAbort)
    const devices = Array.from({ length: plan.devices }, (_, p) => p)
    const left = new Set(devices)
    try {
      // Those elsewhere first: their inputs travel while this thread prepares the others.
      const { members } = this.#runner
      const isElsewhere = (p: number): boolean => members[p]?.takes === 'port'
      for (const self of [...devices.filter(isElsewhere), ...devices.filter(p => !isElsewhere(p))])
        this.#deal(request, plan, sequences, self, run)
      while (left.size > 0) {
        const next = await queue.take()
        const { device, frame } = next
        if (frame.kind === 'error') {
          const cause = frame.json as ErrorMessage
          throw this.#failed(device, cause.message, { cause })
        }
        const account = this.#accounts[device] as Account
        if (frame.kind === 'done') {
          if (!left.delete(device)) throw this.#failed(device, 'it ended the request twice')
          account.done = frame.json as DoneMessage
        } else account.outputBytes += dataBytes(frame.data)
        yield next
      }
    } finally {
      this.#signal?.removeEventListener('abort', onAbort)
      this.#devices.close(request)
      if (left.size > 0) for (const p of devices) this.#devices.send(p, frame('abort', request))
    }
  }

  /** Throws where a device has said how much it may use and the request needs more: before anything is sent. */
  async #expectRoom(plan: Plan, { output, generate }: Question): Promise<void> {
    const { members } = this.#runner
    const threads = members.map(m => m.about?.threads ?? 1)
    for (const [p, { name, about }] of members.entries()) {
      const limit = about?.memoryLimitBytes
      if (limit === undefined) continue
      const [needed] = await estimate(this.#model, plan, {
        ...{ devices: [p], threads },
        ...(output === 'tokens' ? { maxNewTokens: generate?.maxNewTokens as number } : { output }),
      })
      const { peakBytes } = needed as { peakBytes: number }
      if (peakBytes > limit)
        throw new MemoryError(
          `device ${p} (${name}) needs ${peakBytes} bytes for this request and may use ${limit}: ${peakBytes - limit} too few`,
          peakBytes - limit,
        )
    }
  }

  #deal(request: number, plan: Plan, sequences: readonly Part[], self: number, run: Asked): void {
    const { shape } = this.#model
    const parts = plan.sequences.map((sequence, s) => partFor(sequence, self, sequences[s] as Part, shape))
    const { header, data } = packParts(parts, shape)
    ;(this.#accounts[self] as Account).inputBytes += dataBytes(data)
    const message: RunMessage = { ...run, self, parts: header }
    this.#devices.send(self, frame('run', request, { json: message, data }))
  }

  #failed(device: number, message: string, options?: ErrorOptions): DeviceError {
    const { members } = this.#devices
    // Devices know the others by their numbers only.
    const named = message.replace(/\bdevice (\d+)\b/g, (all, p) => (members[p] ? `${all} (${members[p].name})` : all))
    return new DeviceError(`device ${device} (${members[device]?.name}): ${named}`, options)
  }
}

/** Options as frames hold them: more tokens than the model has positions never come, and what is no id ends no text. */
function forDevices(options: GenerateOptions, positions: number): GenerateOptions {
  const { maxNewTokens, endIds } = options
  return {
    ...options,
    maxNewTokens: Math.min(maxNewTokens, positions + 1),
    ...(endIds && { endIds: endIds.filter(id => Number.isInteger(id) && id >= 0) }),
  }
}

class FrameQueue {
  readonly #frames: { device: number; frame: Frame }[] = []
  #waiting: { resolve: (f: { device: number; frame: Frame }) => void; reject: (reason: unknown) => void } | undefined
  #failure: { readonly reason: unknown } | undefined

  push(next: { device: number; frame: Frame }): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting) waiting.resolve(next)
    else this.#frames.push(next)
  }
  fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.#waiting?.reject(this.#failure.reason)
    this.#waiting = undefined
  }
  async take(): Promise<{ device: number; frame: Frame }> {
    if (this.#failure) throw this.#failure.reason
    const next = this.#frames.shift()
    return (
      next ??
      new Promise((resolve, reject) => {
        this.#waiting = { resolve, reject }
      })
    )
  }
}

function floats(data: Uint8Array): Float32Array {
  if (data.length % 4 !== 0) throw new ConnectionError(`${data.length} bytes are not f32 values`)
  return new Float32Array(data.slice().buffer)
}
