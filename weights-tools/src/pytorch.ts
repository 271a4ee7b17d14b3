/**
 * PyTorch zip checkpoints (`torch.save` since 1.6): `<name>/data.pkl` describes the tensors, `<name>/data/<key>` holds
 * each storage's bytes, `<name>/byteorder` how they are ordered.
 */
import { type CheckpointTensor, ELEMENT_BYTES, type StateDict, type Storage } from './checkpoint.js'
import { CheckpointError } from './errors.js'
import { PickledTensor, type PickleValue, type StorageReference, unpickle } from './unpickle.js'
import { readZip } from './zip.js'

/** Keys under which training scripts wrap a state dict, in the order they are looked for. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model'] as const

/**
 * Reads a checkpoint's state dict; one level of `{"state_dict": …}` and the like is unwrapped, as is the `module.` that
 * DataParallel puts before every name. Storages are unpacked only when a tensor's bytes are asked for.
 * Throws `CheckpointError`, `RefusedGlobalError`.
 */
export function readPytorch(archive: Uint8Array): StateDict {
  const entries = readZip(archive)
  const pickles = [...entries.keys()].filter(name => name === 'data.pkl' || /^[^/]+\/data\.pkl$/.test(name))
  if (pickles.length !== 1)
    throw new CheckpointError(`a PyTorch checkpoint has one data.pkl, this zip has ${pickles.length}`)
  const folder = pickles[0]!.slice(0, -'data.pkl'.length)

  const byteOrder = entries.get(`${folder}byteorder`)
  if (byteOrder && new TextDecoder().decode(byteOrder.bytes()).trim() !== 'little')
    throw new CheckpointError('the checkpoint was saved on a big-endian machine; only little-endian ones are read')

  const storages = new Map<string, Storage>()
  const load = ({ dtype, key, length }: StorageReference): Storage => {
    const known = storages.get(key)
    if (known) {
      if (known.dtype !== dtype || known.length !== length)
        throw new CheckpointError(`storage ${key} is described in two ways`)
      return known
    }
    const entry = entries.get(`${folder}data/${key}`)
    if (!entry) throw new CheckpointError(`the checkpoint lacks ${folder}data/${key}`)
    if (entry.size !== length * ELEMENT_BYTES[dtype])
      throw new CheckpointError(
        `${entry.name} has ${entry.size} bytes, ${length} elements of ${dtype} were to be there`,
      )
    const storage = { dtype, length, bytes: entry.bytes }
    storages.set(key, storage)
    return storage
  }
  return stateDictOf(unpickle(entries.get(pickles[0]!)!.bytes(), load))
}

function stateDictOf(whole: PickleValue): StateDict {
  if (!(whole instanceof Map)) throw new CheckpointError('the checkpoint holds no dict of tensors')
  const value = WRAPPERS.map(key => whole.get(key)).find(inner => inner instanceof Map) ?? whole
  const tensors = new Map<string, CheckpointTensor>()
  for (const [name, item] of value) {
    if (typeof name !== 'string' || !(item instanceof PickledTensor))
      throw new CheckpointError(
        `"${name}" in the checkpoint is no tensor, and no ${WRAPPERS.join(', ')} beside it holds the tensors`,
      )
    tensors.set(name, item.tensor)
  }
  return withoutModulePrefix(tensors)
}

function withoutModulePrefix(tensors: StateDict): StateDict {
  const prefix = 'module.'
  if (tensors.size === 0 || ![...tensors.keys()].every(name => name.startsWith(prefix))) return tensors
  return new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]))
}
