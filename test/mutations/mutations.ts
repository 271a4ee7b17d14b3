/** Ways to break the code, one at a time, and the suites of which at least one must then fail. */

export interface Mutation {
  readonly name: string
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
  /** Workspaces to build again, in order. */
  readonly build: readonly string[]
  readonly suites: readonly string[]
}

const VERIFY = 'test/verify.test.ts'
const KERNELS = 'packages/tensor/src/backends'
const DEFINITION = 'test/distribution/definition.test.ts'
const EQUIVALENCE = 'test/distribution/equivalence.test.ts'
const RUN_SIZES = 'packages/distribute/src/runs.test.ts'
const COUNTERS = 'test/distribution/cost.test.ts'
const MEMORY = 'test/distribution/memory.test.ts'
const ESTIMATE = 'test/distribution/estimate.test.ts'
const ROOM = 'test/models/room.test.ts'
const WORKER = 'test/pipeline'
const PRECISION = 'test/models/precision.test.ts'
const CODES = 'weights-tools/src/eight-bits.test.ts'

const one = (file: string, find: string, replace: string): Mutation['edits'] => [{ file, find, replace }]
const models = ['packages/models']
const distribute = ['packages/distribute']
const prismal = ['packages/prismal']
const kernels = ['kernels-as', 'packages/tensor']

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "LayerNorm's eps is off",
    edits: one(
      'packages/models/src/layers.ts',
      'layerNorm(x, gain, bias, eps)',
      'layerNorm(x, gain, bias, eps + 1e-3)',
    ),
    build: models,
    suites: [VERIFY],
  },
  {
    name: "GELU's erf form for its tanh form",
    edits: one('packages/models/src/config.ts', "gelu_new: 'gelu-tanh'", "gelu_new: 'gelu'"),
    build: models,
    suites: [VERIFY],
  },
  {
    name: 'means weigh as one row: counts are dropped',
    edits: one('packages/distribute/src/shared-context.ts', 'counts.some(c => c > 1)', 'counts.some(c => c < 0)'),
    build: distribute,
    suites: [VERIFY],
  },
  {
    name: 'the wire format is ignored',
    edits: [
      ...one('packages/distribute/src/shared-context.ts', 'encodeRows(means, plan.wire)', "encodeRows(means, 'f32')"),
      ...one('packages/distribute/src/shared-context.ts', '    plan.wire,\n', "    'f32',\n"),
    ],
    build: distribute,
    suites: [COUNTERS, VERIFY],
  },
  {
    name: 'means are taken at the other point',
    edits: one(
      'packages/distribute/src/shared-context.ts',
      "plan.point === 'input' ? x : normed",
      "plan.point !== 'input' ? x : normed",
    ),
    build: distribute,
    suites: [VERIFY],
  },
  {
    name: "a mean's exponent is ignored",
    edits: one('packages/distribute/src/shared-context.ts', 'gain * Math.log(c)', 'Math.log(c)'),
    build: distribute,
    suites: [DEFINITION],
  },
  {
    name: 'rows join the farthest group of like rows',
    edits: one(
      'packages/distribute/src/alike.ts',
      'if (far >= (off[row] as number)) continue',
      'if (far <= (off[row] as number)) continue',
    ),
    build: distribute,
    suites: ['packages/distribute/src/alike.test.ts'],
  },
  {
    name: 'like rows are compared across windows',
    edits: one('packages/distribute/src/alike.ts', 'const WINDOW_ROWS = 512', 'const WINDOW_ROWS = 512_000'),
    build: distribute,
    suites: ['packages/distribute/src/alike.test.ts'],
  },
  {
    name: 'anchored rows of a causal model see what comes after them',
    edits: one(
      'packages/distribute/src/shared-context.ts',
      'from: from + anchorQueries(',
      'from: from + 0 * anchorQueries(',
    ),
    build: distribute,
    suites: [DEFINITION],
  },
  {
    name: 'the rows of a halo are heard of as well',
    edits: one(
      'packages/distribute/src/plan.ts',
      'return (overlap(sequence, from, to) > 0 ? sentNext : sent)',
      'return (overlap(sequence, from, to) < 0 ? sentNext : sent)',
    ),
    build: distribute,
    suites: [DEFINITION],
  },
  {
    name: 'a share of the rows as a halo is of those before',
    edits: one('packages/distribute/src/plan.ts', 'Math.floor(asked * (to - from))', 'Math.floor(asked * before)'),
    build: [],
    suites: ['packages/distribute/src/halo.test.ts'],
  },
  {
    name: 'by default there is a halo whatever the bounds',
    edits: one(
      'packages/distribute/src/recommended.ts',
      'options.bounds === undefined && halo !== undefined',
      'halo !== undefined',
    ),
    build: [],
    suites: ['packages/distribute/src/recommended.test.ts'],
  },
  {
    name: 'two devices have halves of an image however little they send',
    edits: one('packages/distribute/src/recommended.ts', 'share > MANY', 'share > 0'),
    build: distribute,
    suites: ['packages/distribute/src/recommended.test.ts', 'packages/prismal/src/calibrate/ladder.test.ts'],
  },
  {
    name: 'what calibration says is lost is told from logits that change out of all proportion',
    edits: one('packages/prismal/src/calibrate/losses.ts', 'const AMPLIFICATION = 4', 'const AMPLIFICATION = 200'),
    build: [],
    suites: ['packages/prismal/src/calibrate/losses.test.ts'],
  },
  {
    name: 'devices beyond a halo are sent what the next one is',
    edits: one('packages/distribute/src/plan.ts', 'overlap(plan.sequences[s] as SequencePlan, from, to)', '0'),
    build: distribute,
    suites: [DEFINITION],
  },
  {
    name: 'a halo is handed over to whoever decodes',
    edits: one(
      'packages/distribute/src/plan.ts',
      'const end = to - overlap(sequence, device, decoderOf(sequence))',
      'const end = to - 0 * overlap(sequence, device, decoderOf(sequence))',
    ),
    build: distribute,
    suites: [EQUIVALENCE],
  },
  {
    name: 'rows come back in the order in which they were dealt',
    edits: one('packages/distribute/src/gathered.ts', 'at[row + i] as number', 'row + i'),
    build: distribute,
    suites: [EQUIVALENCE],
  },
  {
    name: 'the sink is ignored',
    edits: one('packages/distribute/src/runs.ts', '[0], sink, before', '[0], 0, before'),
    build: distribute,
    suites: [RUN_SIZES, VERIFY],
  },
  {
    name: 'values of another head: heads are swapped',
    edits: one(
      'kernels-as/assembly/attention.ts',
      'values + <usize>first * vRow + skip',
      'values + <usize>first * vRow + <usize>(H - 1 - h) * head',
    ),
    build: kernels,
    suites: [KERNELS, VERIFY],
  },
  {
    name: 'a row sees the row after it: causality is off by one',
    edits: one('packages/models/src/context.ts', '(queries[i] as number)) + 1', '(queries[i] as number)) + 2'),
    build: models,
    suites: [VERIFY],
  },
  {
    name: 'a segment begins one row late',
    edits: one(
      'packages/distribute/src/runs.ts',
      'i * size + Math.min(i, longer)',
      'i * size + Math.min(i + 1, longer)',
    ),
    build: distribute,
    suites: [RUN_SIZES, VERIFY],
  },
  {
    name: "the matrix kernel's last columns are taken for whole panels",
    edits: one('kernels-as/assembly/gemm.ts', 'const columns = min(8, n - j)', 'const columns = 8'),
    build: kernels,
    suites: [KERNELS],
  },
  {
    name: 'keys are folded only up to whole vectors',
    edits: one(
      'kernels-as/assembly/attention.ts',
      'const count = min(KEY_CHUNK, m - first)',
      'const count = min(KEY_CHUNK, (m - first) & ~3)',
    ),
    build: kernels,
    suites: [KERNELS],
  },
  {
    name: "a request's memory is not given back",
    edits: one(
      'packages/distribute/src/device.ts',
      '      scope.dispose()\n      this.#end(request)',
      '      this.#end(request)',
    ),
    build: distribute,
    suites: [MEMORY],
  },
  {
    name: 'an estimate sizes caches for one token',
    edits: one(
      'packages/distribute/src/work.ts',
      '{ maxNewTokens: share.generate.maxNewTokens }',
      '{ maxNewTokens: 1 }',
    ),
    build: distribute,
    suites: [ESTIMATE],
  },
  {
    name: "an estimate's wire format is another",
    edits: one(
      'packages/distribute/src/work.ts',
      'rowBytes(sentRows(plan, layer, sequences, from, self), width, plan.wire)',
      "rowBytes(sentRows(plan, layer, sequences, from, self), width, 'f32')",
    ),
    build: distribute,
    suites: [ESTIMATE],
  },
  {
    name: 'estimates leave the weights out',
    edits: one('packages/models/src/load.ts', '    engine.arena.keep()\n', ''),
    build: models,
    suites: [ESTIMATE, ROOM],
  },
  {
    name: "a layer's tensors live as long as the request",
    edits: one('packages/tensor/src/tensor.ts', '      inner.dispose()\n', '      void inner\n'),
    build: ['packages/tensor'],
    suites: [ROOM],
  },
  {
    name: 'a rehearsal of loading reads the weights',
    edits: one(
      'packages/models/src/weights/streaming.ts',
      'if (staging.rehearses) {',
      'if (staging.rehearses && wanted.length === 0) {',
    ),
    build: models,
    suites: [ROOM],
  },
  {
    name: 'a worker is not told of aborts',
    edits: one(
      'packages/prismal/src/worker/link.ts',
      "this.#thread.post({ ask: 'abort', id: of } satisfies ToWorker)",
      'void of',
    ),
    build: prismal,
    suites: [WORKER],
  },
  {
    name: 'a worker computes in the calling thread',
    edits: one('packages/prismal/src/pipeline.ts', 'if (!haveWorkers()) return', 'return'),
    build: prismal,
    suites: [WORKER],
  },
  {
    name: 'an idle worker keeps its process alive',
    edits: one('packages/prismal/src/worker/link.ts', 'hold(this.#waiting.size > 0)', 'hold(true)'),
    build: prismal,
    suites: [WORKER],
  },
  {
    name: 'a stream that is left goes on in the worker',
    edits: one('packages/prismal/src/worker/serve.ts', 'await stream?.return?.()', 'void stream'),
    build: prismal,
    suites: [WORKER],
  },
  {
    name: "a caller's pixels are taken rather than copied",
    edits: one(
      'packages/prismal/src/worker/values.ts',
      'const copy = new Uint8Array(bytes)',
      'const copy = bytes as Uint8Array<ArrayBuffer>',
    ),
    build: prismal,
    suites: [WORKER],
  },
  {
    name: "a plan's dtype is ignored",
    edits: one(
      'packages/prismal/src/commands/plan.ts',
      'engine: rehearsalEngine(), ...asked,',
      'engine: rehearsalEngine(),',
    ),
    build: prismal,
    suites: ['test/cli.test.ts'],
  },
  {
    name: 'the scales of 8-bit files are not multiplied on',
    edits: one('packages/models/src/weights/scales.ts', '&& this.#isScaled)', '&& !this.#isScaled)'),
    build: models,
    suites: [PRECISION],
  },
  {
    name: "a joined matrix takes each part's scales for the first columns",
    edits: one('packages/models/src/weights/reader.ts', 'columns?.from ?? 0, n, i * n)', 'columns?.from ?? 0, n, 0)'),
    build: models,
    suites: [PRECISION],
  },
  {
    name: 'a part of a matrix takes the first scales',
    edits: one('packages/models/src/weights/reader.ts', 'columns?.from ?? 0, n, i * n)', '0, n, i * n)'),
    build: models,
    suites: [PRECISION],
  },
  {
    name: 'codes are rounded in float64',
    edits: one('weights-tools/src/eight-bits.ts', 'const factors = most.map(', 'const factors = Array.from(most, '),
    build: [],
    suites: [CODES],
  },
]
