/** Tells the site that a page is on what it found, or how it failed. */
export async function answer(work) {
  const found = await Promise.resolve()
    .then(work)
    .catch(error => ({ failed: { name: error?.name, code: error?.code, message: String(error?.message ?? error) } }))
  await fetch('/answer', { method: 'POST', body: JSON.stringify(found) })
}
