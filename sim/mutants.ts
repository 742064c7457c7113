export function runMutations(_: {
  seeds: number
  steps: number
  only: string | undefined
  print: (line: string) => void
}): Promise<boolean> {
  return Promise.resolve(true)
}
