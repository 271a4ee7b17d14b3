/**
 * The page's build. Models and sample pictures lie elsewhere in the repository: the dev server serves them from there, a build
 * copies what the page fetches. What is built may lie below any path of any static server.
 */
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'

const repository = new URL('../../', import.meta.url)

/** What the page fetches, and where it lies in the repository. */
const FILES: Readonly<Record<string, string>> = Object.fromEntries([
  ...['config.json', 'preprocessor_config.json', 'model.safetensors'].map(inModel('vit-cifar10')),
  ...[
    ...['config.json', 'generation_config.json', 'model.safetensors'],
    ...['tokenizer.json', 'tokenizer_config.json'],
  ].map(inModel('gpt2-chronicle')),
  ...['automobile', 'cat', 'frog', 'horse', 'plane', 'ship'].map(name => [
    `samples/${name}.png`,
    `examples/images/${name}.png`,
  ]),
])

function inModel(model: string): (name: string) => [string, string] {
  return name => [`models/${model}/${name}`, `models/${model}/${name}`]
}

const pathOf = (name: string): string | undefined => {
  const found = FILES[name]
  return found && fileURLToPath(new URL(found, repository))
}

/** Serves and copies {@link FILES}. */
function filesOfTheRepository(): Plugin {
  return {
    name: 'files-of-the-repository',
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const [, name = ''] = /^\/((?:models|samples)\/[^?]*)/.exec(request.url ?? '') ?? []
        const path = pathOf(name)
        if (!name) return next()
        if (!path) return void response.writeHead(404).end()
        const type = extname(path) === '.png' ? 'image/png' : 'application/octet-stream'
        response.writeHead(200, { 'content-type': type, 'content-length': statSync(path).size })
        if (request.method === 'HEAD') response.end()
        else createReadStream(path).pipe(response)
      })
    },
    generateBundle() {
      for (const fileName of Object.keys(FILES)) {
        const source = readFileSync(pathOf(fileName) as string)
        this.emitFile({ type: 'asset', fileName, source })
      }
    },
  }
}

const POLICY = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "img-src 'self' blob: data:",
].join('; ')

/** The dev server puts styles into the page, which the policy forbids: only what is built has it. */
function contentSecurityPolicy(): Plugin {
  return {
    name: 'content-security-policy',
    apply: 'build',
    transformIndexHtml: () => [
      { tag: 'meta', attrs: { 'http-equiv': 'Content-Security-Policy', content: POLICY }, injectTo: 'head-prepend' },
    ],
  }
}

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  plugins: [filesOfTheRepository(), contentSecurityPolicy()],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // Data URLs are not what the policy lets a worker load.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  preview: { host: '127.0.0.1' },
  server: { host: '127.0.0.1' },
})
