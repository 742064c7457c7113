export async function runMutations(_: object): Promise<boolean> { return true }
