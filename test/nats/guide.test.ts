/** The commands of docs/nats.md: those for one machine run as they stand, but for the server's port and folder; the others exist. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hasNatsServer } from '../nats-server.js'
import { CLI, type Running, start } from '../prismal-command.js'
import { temporaryFolder } from '../temporary-folder.js'

const guide = readFileSync('docs/nats.md', 'utf8')
/** Commands of a section, without what is said of them. */
const commandsOf = (section: string): string[] =>
  [...section.matchAll(/```console\n(.*?)```/gs)].flatMap(([, block = '']) =>
    block
      .split('\n')
      .filter(line => line.startsWith('$ '))
      .map(line => line.slice(2).replace(/\s{2,}#.*$/, '')),
  )
const section = (title: string): string => {
  const [, text] = guide.split(`## ${title}\n`)
  return text?.split('\n## ')[0] ?? ''
}
const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

describe('docs/nats.md', () => {
  it.skipIf(!hasNatsServer)('starts everything on one machine', { timeout: 120_000 }, async () => {
    const folder = temporaryFolder()
    const port = await freePort()
    const env: NodeJS.ProcessEnv = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') }
    const background: Running[] = []
    const said: Record<string, string> = {}
    const commands = commandsOf(section('On one machine'))
    expect(commands.length).toBeGreaterThan(9)
    try {
      for (const command of commands) {
        const line = command
          .replaceAll('4222', String(port))
          .replace('nats-data', join(folder, 'nats'))
          .replace(/ devices$/, ' devices --wait 3') // a busy machine answers within it
          .replace(/^npx prismal/, `exec ${process.execPath} ${CLI}`)
          .replace(/^nats-server/, 'exec nats-server')
        const [, name, value] = /^export (\w+)=(\S+)$/.exec(line) ?? []
        if (name) env[name] = value
        else if (line.endsWith(' &')) {
          const running = start('bash', ['-c', line.slice(0, -2)], { env })
          background.push(running)
          await running.until(/Server is ready|^listening on|^serving/m)
        } else {
          const { code, out, err } = await start('bash', ['-c', line], { env }).ended
          expect({ command, code, err: err.replace(/^warning: .*\n/gm, '') }).toEqual({ command, code: 0, err: '' })
          said[command] = out
        }
      }
      const [devices, ...runs] = Object.entries(said).filter(([command]) => !command.includes('push'))
      expect(devices?.[1]).toMatch(/^first +what is asked for/m)
      expect(devices?.[1]).toMatch(/^second +vit-cifar10 f32/m)
      for (const [command, out] of runs.slice(0, 2)) {
        expect(out, command).toMatch(/^cat 0\.\d+ /)
        expect(out, command).toMatch(/3 devices · means/)
      }
      expect(runs[2]?.[1]).toMatch(/^cat 0\.\d+ .*\n.* · by (one|two)\n$/)
      expect(JSON.parse(runs[3]?.[1] ?? '').output[0][0].label).toBe('cat')
    } finally {
      for (const running of background.reverse()) await running.end()
    }
    // Groups and workers leave in peace, and the server last.
    expect(background.map(r => r.child.exitCode)).toEqual([0, 0, 0, 0, 1])
  })

  it.skipIf(!hasNatsServer)('sets a server up for three machines', async () => {
    const folder = temporaryFolder()
    const port = await freePort()
    const commands = commandsOf(section('On three machines'))
    const [own, ...rest] = commands.filter(command => /^(npx prismal secret|openssl|printf|nats-server)/.test(command))
    expect(rest).toHaveLength(3)
    const run = (command: string) =>
      start('bash', ['-c', `cd ${folder} && ${command.replace('npx prismal', `${process.execPath} ${resolve(CLI)}`)}`])
    let server: Running | undefined
    try {
      for (const command of [own as string, ...rest.slice(0, 2)])
        expect((await run(command).ended).code, command).toBe(0)
      server = run(
        (rest[2] as string)
          .replace('0.0.0.0', '127.0.0.1')
          .replace('nats-server', `exec nats-server -p ${port}`)
          .replace(' &', ''),
      )
      await server.until(/Server is ready/)
      const [, url = ''] = /^export PRISMAL_NATS="(.*)"$/.exec(commands.find(c => c.startsWith('export')) ?? '') ?? []
      const reached = url.replace('192.0.2.1:4222', `127.0.0.1:${port}`)
      const devices = run(`npx prismal devices --nats "${reached}" --secret-file secret`)
      expect(await devices.ended).toMatchObject({ code: 0, out: 'no devices in group default\n', err: '' })
      const refused = run(`npx prismal devices --nats nats://127.0.0.1:${port}`)
      expect((await refused.ended).err).toMatch(/it refuses the credentials/)
    } finally {
      await server?.end()
    }
  })

  it('names no command or option that does not exist', () => {
    const all = commandsOf(guide).filter(command => command.startsWith('npx prismal'))
    expect(all.length).toBeGreaterThan(12)
    for (const command of all) {
      const [, , name = '', ...rest] = command.split(' ')
      const { stdout } = spawnSync(process.execPath, [CLI, name, '--help'], { encoding: 'utf8' })
      expect(stdout, command).toContain(`prismal ${name}`)
      for (const flag of rest.filter(word => word.startsWith('--'))) expect(stdout, command).toContain(flag)
    }
  })
})
