// Continues a text, piece by piece: node generate.js "And it came to pass"
import { pipeline } from 'prismal'

const [prompt = 'And it came to pass'] = process.argv.slice(2)
const generate = await pipeline('text-generation', '@prismal/gpt2-chronicle')

// The same seed gives the same text. Leaving the loop early ends the computation.
const options = { max_new_tokens: 40, temperature: 0.8, top_k: 50, seed: 7 }
process.stdout.write(prompt)
for await (const piece of generate(prompt, options)) process.stdout.write(piece)
process.stdout.write('\n')
await generate.dispose()
