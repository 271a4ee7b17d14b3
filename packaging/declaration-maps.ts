/** Maps from declarations to the TypeScript that they were made of, as small as an editor's "go to definition" needs. */
import { decode, encode, type SourceMapSegment } from '@jridgewell/sourcemap-codec'
import ts from 'typescript'

/**
 * A map of the declared names alone: a fifth of what the compiler writes, who maps each type and parameter as well.
 * @param map the compiler's, as JSON
 * @param text the declarations
 * @param shift what the text has more than those that were mapped: lines before them
 * @param source where the TypeScript lies, seen from the map
 */
export function namesMapped(map: string, text: string, shift: number, source: string): string {
  const { mappings, ...rest } = JSON.parse(map) as { mappings: string }
  const lines = [...Array.from({ length: shift }, (): SourceMapSegment[] => []), ...decode(mappings)]
  const starts = namesIn(text)
  const kept = lines.map((segments, line) => segments.filter(([column]) => starts.has(`${line}:${column}`)))
  return JSON.stringify({ ...rest, sources: [source], mappings: encode(kept) })
}

/** Where the names of declarations start, and the members that have none (constructors, signatures), as `line:column`. */
function namesIn(text: string): Set<string> {
  const file = ts.createSourceFile('declarations.d.ts', text, ts.ScriptTarget.Latest, true)
  const starts = new Set<string>()
  const visit = (node: ts.Node): void => {
    const start = nameOf(node)?.getStart(file)
    if (start !== undefined) {
      const { line, character } = file.getLineAndCharacterOfPosition(start)
      starts.add(`${line}:${character}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return starts
}

function nameOf(node: ts.Node): ts.Node | undefined {
  if (ts.isClassElement(node) || ts.isTypeElement(node)) return node.name ?? node
  const isDeclared =
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isEnumDeclaration(node) ||
    ts.isVariableDeclaration(node)
  return isDeclared ? node.name : undefined
}
