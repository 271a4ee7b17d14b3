/** Posts what this browser is capable of. */
import { speeds } from './speed.js'

const rows = new URL(location.href).searchParams.get('tile')
const found = await speeds('/files/', '/model', rows === null ? undefined : Number(rows)).catch(error => ({
  failed: String(error),
}))
await fetch('/answer', { method: 'POST', body: JSON.stringify(found) })
