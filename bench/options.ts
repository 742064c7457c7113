// What the programs that measure side by side have in common.
import { fileURLToPath } from 'node:url'
import type { Options, Section } from './side-by-side.ts'

export const historyFile = fileURLToPath(new URL('../../bench/history/results.jsonl', import.meta.url))

const sections: readonly Section[] = ['standalone', 'three servers']

/** All of it takes about three minutes. */
export const defaults: Options = {
  measured: 'zabd',
  against: 'apache',
  sections,
  only: undefined,
  seconds: 1,
  repetitions: 2,
}

/** `standalone,three-servers`; undefined: both. */
export function sectionsOf(text: string | undefined): readonly Section[] {
  if (text === undefined) return sections
  return text.split(',').map((name) => {
    const section = sections.find((known) => known === name.trim().replace('-', ' '))
    if (section === undefined) throw new Error(`--sections: ${name} is not standalone or three-servers`)
    return section
  })
}
