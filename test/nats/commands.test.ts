/** Workers, groups and those who ask, as processes of the command at real servers that fail. */
import { join } from 'node:path'
import { ask, connectNats } from '@prismal/distribute/nats'
import { describe, expect, it } from 'vitest'
import { hasNatsServer } from '../nats-server.js'
import { CLI, prismal, type Running, start } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'
import { afterwards, started } from './opened.js'

const CAT = 'examples/images/cat.png'
const VIT = ['--model', 'models/vit-cifar10']
const begun = async (until: RegExp, ...args: string[]): Promise<Running> => {
  const running = start(process.execPath, [CLI, ...args])
  await running.until(until)
  return running
}
const worker = (...args: string[]) => begun(/^listening on/m, 'worker', ...args)
const serve = (...args: string[]) => begun(/^serving/m, 'serve', '--task', 'image-classification', ...args)

describe.skipIf(!hasNatsServer)('at a NATS server', () => {
  it('workers come back by themselves when it was killed and started anew', { timeout: 120_000 }, async () => {
    const server = await started()
    const run = () =>
      prismal(
        'run',
        'image-classification',
        CAT,
        '--nats',
        server.url,
        '--device',
        'local',
        '--devices',
        '2',
        '--via',
        'nats',
      )
    const one = await worker(...VIT, '--nats', server.url)
    const before = await run()
    expect(before).toMatchObject({ code: 0, out: expect.stringMatching(/^cat .*\n.*2 devices · means/) })
    await server.kill()
    const without = await run()
    expect(without).toMatchObject({ code: 1, err: expect.stringContaining(`no NATS server at ${server.url}`) })
    await started({ port: server.port })
    const after = await run()
    expect(after.out.split('\n')[0]).toBe(before.out.split('\n')[0])
    const { code, err } = await one.end()
    expect({ code, err }).toEqual({ code: 0, err: '' })
  })

  it('a group looks for devices anew when one of its own dies', { timeout: 120_000 }, async () => {
    const { url } = await started()
    const first = await worker(...VIT, '--nats', url, '--name', 'first')
    const group = await serve(...VIT, '--nats', url, '--device', 'local', '--devices', '2')
    const asked = () => prismal('ask', 'image-classification', CAT, '--nats', url)
    const before = await asked()
    expect(before).toMatchObject({ code: 0, out: expect.stringMatching(/^cat .*\n.*2 devices/) })
    await first.end('SIGKILL')
    const second = await worker(...VIT, '--nats', url, '--name', 'second')
    const after = await asked()
    expect(after).toMatchObject({ code: 0, out: expect.stringMatching(/^cat .*\n.*2 devices/) })
    expect(group.said.err).toMatch(/the devices are looked for again: .*/)
    expect(await group.end()).toMatchObject({ code: 0, out: expect.stringMatching(/answered 2\n$/) })
    await second.end()
  })

  it('only those with the secret are found, answered and brought models', { timeout: 120_000 }, async () => {
    const { url } = await started({ jetStream: true })
    const here = temporaryFolder()
    const [secret, other] = [join(here, 'secret'), join(here, 'other')]
    for (const file of [secret, other]) expect((await prismal('secret', '--out', file)).code).toBe(0)
    const cached = { ...process.env, XDG_CACHE_HOME: join(here, 'cache') }
    const lacking = start(process.execPath, [CLI, 'worker', '--nats', url, '--secret-file', secret], { env: cached })
    await lacking.until(/^listening on .* no model yet/m)
    const run = (...more: string[]) =>
      prismal('run', 'image-classification', CAT, '--nats', url, '--device', 'local', '--devices', '2', ...more)
    for (const file of [undefined, other]) {
      const refused = await run(...(file ? ['--secret-file', file] : []), '--connect-timeout', '1')
      expect(refused.code).toBe(1)
    }
    expect((await run('--secret-file', other, '--connect-timeout', '3')).err).toMatch(
      /MAC is not of this secret.*\n.*0 found/,
    )
    // A model that somebody else has put there is not believed.
    await prismal('push', ...VIT, '--nats', url, '--secret-file', other)
    expect((await run('--secret-file', secret)).err).toMatch(/not believed: its MAC is not of this secret/)
    const pushed = await prismal('push', ...VIT, '--nats', url, '--secret-file', secret)
    expect(pushed.out).toMatch(
      /^pushed models\/vit-cifar10 · sha256 [0-9a-f]{64} · 0 B of 8.07 MB, the rest was there\n$/,
    )
    expect(await run('--secret-file', secret)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^cat .*\n.*2 devices/),
    })
    expect((await lacking.end()).code).toBe(0)
  })

  it('a group takes no file of its own for what it was sent, and no options that it does not know', async () => {
    const { url } = await started()
    await serve(...VIT, '--nats', url)
    const nc = await connectNats(url)
    afterwards(() => nc.close())
    const request = (inputs: (string | Uint8Array)[], options = {}) =>
      ask(nc, 'image-classification', { inputs, options })
    await expect(request([CAT])).rejects.toThrow(/takes the bytes of images, not texts/)
    await expect(request([new Uint8Array(8)])).rejects.toThrow(/is not an image/)
    await expect(request([])).rejects.toMatchObject({ code: 'bad-input' })
    await expect(request([new Uint8Array(8)], { model: '/etc' })).rejects.toThrow('option model is "/etc"')
    await expect(request([new Uint8Array(8)], { topk: 'all' })).rejects.toThrow('option topk is "all"')
  })

  it('says what is wrong with what it was told', async () => {
    const { url } = await started()
    expect(await prismal('devices', '--nats', url)).toMatchObject({ code: 0, out: 'no devices in group default\n' })
    expect(await prismal('devices')).toMatchObject({
      code: 2,
      err: expect.stringContaining("'--nats <url>' not specified"),
    })
    expect(await prismal('devices', '--nats', 'ws://x')).toMatchObject({
      code: 1,
      err: '"ws://x" is not the address of a NATS server: it begins with nats:// or nats+tls://\n',
    })
    expect(await prismal('ask', 'image-classification', 'none.png', '--nats', url)).toMatchObject({
      code: 1,
      err: 'none.png cannot be read: it does not exist\n',
    })
    expect(await prismal('push', '--nats', url, '--model', 'test')).toMatchObject({ code: 1 })
    const gone = await prismal('devices', '--nats', 'nats://a-token@127.0.0.1:9')
    expect(gone).toMatchObject({ code: 1, err: expect.stringMatching(/^no NATS server at nats:\/\/127.0.0.1:9/) })
  })
})
