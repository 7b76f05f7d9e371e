import { readFileSync } from 'node:fs'

/** A block of code in a page. */
export interface Block {
  /** `js`, `ts`, `sh`, … as after the three backquotes; empty if nothing is there. */
  readonly language: string
  readonly code: string
  /** The heading above it. */
  readonly heading: string
  /** The line of the page on which the code begins. */
  readonly line: number
}

/** Returns the blocks of code of a page, in order. */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  let heading = ''
  let open: { language: string; lines: string[]; line: number } | undefined
  for (const [index, line] of readFileSync(page, 'utf8').split('\n').entries()) {
    if (open !== undefined && /^ *```$/.test(line)) {
      blocks.push({ language: open.language, code: open.lines.join('\n'), heading, line: open.line })
      open = undefined
    } else if (open !== undefined) {
      open.lines.push(line)
    } else if (/^ *```/.test(line)) {
      open = { language: line.trim().slice(3), lines: [], line: index + 2 }
    } else if (line.startsWith('#')) {
      heading = line.replace(/^#+ /, '')
    }
  }
  return blocks
}

/** Finds one block of a page. */
export type FindBlock = (heading: RegExp, language: string, index?: number) => string

/**
 * Returns a function that finds the code of a page's block by its heading and language, and its number among these.
 *
 * @throws Error if the page has no such block
 */
export function blockFinder(page: string): FindBlock {
  const blocks = blocksOf(page)
  return (heading, language, index = 0) => {
    const found = blocks.filter((one) => heading.test(one.heading) && one.language === language)[index]
    if (found === undefined) throw new Error(`${page} has no block ${index} of ${language} under ${heading}`)
    return found.code
  }
}
