/** docs/kubernetes.yaml against the schema of Kubernetes, and against what it leans on here. */
import { readFileSync } from 'node:fs'
import * as apps from 'kubernetes-models/apps/v1'
import * as core from 'kubernetes-models/v1'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
}
type Model = new (manifest: object) => { validate(): void }

const text = readFileSync('docs/kubernetes.yaml', 'utf8')
const manifests = parseAllDocuments(text).map(document => document.toJS({ maxAliasCount: 100 }) as Manifest)

type Path = readonly (string | number)[]

/** Every place in a value, from the top. */
function places(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, item]) => places(item, [...path, key]))]
}

/** A copy in which `change` has made something else of one place's key and value. */
function changed(
  value: unknown,
  [key, ...rest]: Path,
  change: (key: string, item: unknown) => [string, unknown],
): unknown {
  if (Array.isArray(value))
    return value.map((item, i) => {
      if (String(i) !== String(key)) return item
      return rest.length === 0 ? change(String(i), item)[1] : changed(item, rest, change)
    })
  return Object.fromEntries(
    Object.entries(value as object).map(([name, item]) => {
      if (name !== key) return [name, item]
      return rest.length === 0 ? change(name, item) : [name, changed(item, rest, change)]
    }),
  )
}

/** What of a manifest is not as its kind's schema says. */
function faults({ apiVersion, kind, ...rest }: Manifest): string[] {
  const models: Readonly<Record<string, unknown>> = apiVersion === 'v1' ? core : apps
  const Kind = models[kind] as Model | undefined
  if (!Kind) return [`${apiVersion} has no ${kind}`]
  const why = (manifest: unknown): string | undefined => {
    try {
      new Kind(manifest as object).validate()
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
  const wrong = why(rest)
  if (wrong !== undefined) return [wrong]
  // The schema lets fields pass that it does not know: those at which it would take anything, even what is no JSON.
  return places(rest)
    .slice(1)
    .filter(path => why(changed(rest, path, key => [key, Symbol('anything')])) === undefined)
    .map(path => `${path.join('.')} is not a field`)
}

/** Below these are names of the user's own. */
const FREE = new Set(['data', 'labels', 'matchLabels', 'selector', 'requests', 'limits'])

describe('docs/kubernetes.yaml', () => {
  it('has a server, workers and a group that serves', () => {
    expect(manifests.map(m => `${m.kind} ${m.metadata.name}`)).toEqual([
      'ConfigMap nats',
      'Service nats',
      'StatefulSet nats',
      'Deployment prismal-worker',
      'Deployment prismal-serve',
    ])
    for (const document of parseAllDocuments(text)) expect(document.errors).toEqual([])
  })

  it.each(manifests.map(m => [`${m.kind} ${m.metadata.name}`, m] as const))('%s is of its schema', (_, manifest) => {
    expect(faults(manifest)).toEqual([])
  })

  it.each(manifests.map(m => [`${m.kind} ${m.metadata.name}`, m] as const))(
    '%s would not be with any field misspelt',
    (_, { apiVersion, kind, ...rest }) => {
      const fields = places(rest).filter(path => {
        const isFree = FREE.has(String(path.at(-2))) && path.join('.') !== 'spec.selector.matchLabels'
        return path.length > 0 && !/^\d+$/.test(String(path.at(-1))) && !isFree
      })
      expect(fields.length).toBeGreaterThan(2)
      const passed = fields.filter(path => {
        const misspelt = changed(rest, path, (key, item) => [`${key}x`, item]) as object
        return faults({ apiVersion, kind, ...misspelt } as Manifest).length === 0
      })
      expect(passed.map(path => path.join('.'))).toEqual([])
    },
  )

  it('names only volumes, secrets and ports that are there', () => {
    for (const manifest of manifests) {
      const pod = (manifest as { spec?: { template?: { spec?: Pod } } }).spec?.template?.spec
      if (!pod) continue
      const claims = (manifest as { spec?: { volumeClaimTemplates?: Named[] } }).spec?.volumeClaimTemplates ?? []
      const volumes = new Set([...(pod.volumes ?? []).map(v => v.name), ...claims.map(c => c.metadata?.name)])
      for (const container of [...(pod.initContainers ?? []), ...pod.containers])
        for (const { name } of container.volumeMounts ?? []) expect(volumes, container.name).toContain(name)
    }
  })
})

interface Named {
  readonly name?: string
  readonly metadata?: { readonly name: string }
}
interface Container {
  readonly name: string
  readonly volumeMounts?: readonly { readonly name: string }[]
}
interface Pod {
  readonly volumes?: readonly Named[]
  readonly initContainers?: readonly Container[]
  readonly containers: readonly Container[]
}
