// `npm run test:faults`: see test/faults/main.ts, which it runs as compiled.
// FAULTS_BUILD names another build folder than dist, for those who compile elsewhere.

const build = process.env.FAULTS_BUILD ?? 'dist'
const { main } = await import(new URL(`../${build}/test/faults/main.js`, import.meta.url).href)
process.exit(await main(process.argv.slice(2)))
