// `npm run test:interop`: see test/interop/main.ts, which it runs as compiled.
// INTEROP_BUILD names another build folder than dist, for those who compile elsewhere.

const build = process.env.INTEROP_BUILD ?? 'dist'
const { main } = await import(new URL(`../${build}/test/interop/main.js`, import.meta.url).href)
process.exit(await main(process.argv.slice(2)))
