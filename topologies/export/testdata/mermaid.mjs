// Reads flowcharts with Mermaid's own parser, and prints a line of JSON for each:
//   node mermaid.mjs MERMAID.MIN.JS FILE...
// Its bundle expects a browser. What it asks of one while it parses is below; what
// would make text safe to show (DOMPurify) finds no document, and leaves it.
import fs from 'node:fs'
import vm from 'node:vm'

globalThis.window = globalThis
globalThis.document = { nodeType: 9, implementation: {}, currentScript: null, readyState: 'loading', createElement: () => ({}), addEventListener() {} }
globalThis.Element = class {}
globalThis.addEventListener ??= () => {}

const [bundle, ...files] = process.argv.slice(2)
vm.runInThisContext(fs.readFileSync(bundle, 'utf8'), { filename: bundle })
for (const file of files) {
  const found = {}
  try {
    const text = fs.readFileSync(file, 'utf8')
    found.type = (await globalThis.mermaid.parse(text)).diagramType
    const { db } = await globalThis.mermaid.mermaidAPI.getDiagramFromText(text)
    found.edges = db.getEdges().length
    found.groups = db.getSubGraphs().map((g) => g.title)
    found.labels = [...db.getVertices().values()].map((v) => v.text)
  } catch (e) {
    found.error = String(e)
  }
  console.log(JSON.stringify(found))
}
