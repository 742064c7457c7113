import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { viewOf } from '../../src/base/view.ts'
import { type Block, Slab } from '../../src/tree/store-slab.ts'

/** A slab whose owners are numbers of a Map, each with content that only it can have. */
class Owners {
  readonly blocks = new Map<number, { block: Block; length: number }>()
  moves = 0
  readonly slab = new Slab((owner, block) => {
    this.moves++
    this.blocks.get(owner)!.block = block
  })

  add(owner: number, length: number): void {
    const block = this.slab.allocate(owner, length)
    this.blocks.set(owner, { block, length })
    this.slab.write(block, viewOf(contentOf(owner, length)), 0, length)
  }

  remove(owner: number): void {
    const { block } = this.blocks.get(owner)!
    this.blocks.delete(owner)
    this.slab.release(block)
  }

  /** Every block has its content, and the slab knows the same blocks. */
  check(): void {
    const seen = new Set<number>()
    this.slab.check((owner, block, room) => {
      assert.equal(this.blocks.get(owner)?.block, block)
      assert.ok(this.blocks.get(owner)!.length <= room)
      seen.add(owner)
    })
    assert.equal(seen.size, this.blocks.size)
    for (const [owner, { block, length }] of this.blocks) {
      const bytes = Buffer.alloc(length)
      this.slab.read(block, viewOf(bytes), 0, length)
      assert.ok(bytes.equals(contentOf(owner, length)), `content of ${owner}`)
    }
  }
}

function contentOf(owner: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (owner * 7 + i) & 255
  return bytes
}

describe('slab', () => {
  test('writes and reads exactly the given bytes at every length', () => {
    const slab = new Slab(() => {})
    for (let length = 0; length < 400; length++) {
      const block = slab.allocate(1, length)
      const source = Buffer.from(Array.from({ length: length + 9 }, (_, i) => (i * 31 + length) & 255))
      slab.write(block, viewOf(source), 5, length)
      const target = Buffer.alloc(length + 10, 0xee)
      slab.read(block, viewOf(target), 7, length)
      const edges = [Buffer.alloc(7, 0xee), Buffer.alloc(3, 0xee)]
      assert.deepEqual(target, Buffer.concat([edges[0]!, source.subarray(5, 5 + length), edges[1]!]))
      slab.check((owner) => assert.equal(owner, 1))
    }
  })

  test('reserves nothing before the first block', () => {
    assert.equal(new Slab(() => {}).reservedBytes, 0)
  })

  test('blocks of every length have room, waste little and do not overlap', () => {
    const owners = new Owners()
    const lengths = [16_379, 16_380, 16_381, 65_536, 100_000, 2 ** 20]
    for (let length = 1; length < 5000; length += 7) lengths.push(length)
    for (const [owner, length] of lengths.entries()) owners.add(owner, length)
    owners.check()
    owners.slab.check((owner, _block, room) => {
      const { length } = owners.blocks.get(owner)!
      assert.ok(room - length < Math.max(8, (room + 4) / 16 + 1), `${length} bytes in ${room}`)
    })
  })

  test('fits tells whether a length has the same slot size', () => {
    const slab = new Slab(() => {})
    const small = slab.allocate(1, 100)
    assert.deepEqual(
      [92, 93, 100, 101].map((length) => slab.fits(small, length)),
      [false, true, true, false],
    )
    const large = slab.allocate(2, 2 ** 20)
    assert.deepEqual(
      [2 ** 20 - 4, 2 ** 20 - 3, 2 ** 20, 2 ** 20 + 2 ** 16 - 4, 2 ** 20 + 2 ** 16 - 3].map((length) =>
        slab.fits(large, length),
      ),
      [false, true, true, true, false],
    )
  })

  test('a large block is given back as soon as it is released', () => {
    const owners = new Owners()
    for (let round = 0; round < 3; round++) {
      owners.add(1, 2 ** 20)
      assert.ok(owners.slab.reservedBytes > 2 ** 20)
      owners.check()
      owners.remove(1)
      assert.equal(owners.slab.reservedBytes, 0)
      owners.check()
    }
  })

  test('released slots are used again before a page is added', () => {
    const owners = new Owners()
    for (let owner = 0; owner < 2000; owner++) owners.add(owner, 100)
    const reserved = owners.slab.reservedBytes
    for (let owner = 0; owner < 2000; owner += 3) owners.remove(owner)
    for (let owner = 0; owner < 2000; owner += 3) owners.add(owner, 100)
    assert.equal(owners.slab.reservedBytes, reserved)
    owners.check()
  })

  test('a page that is filled and emptied over and over is neither given back nor added each time', () => {
    const owners = new Owners()
    owners.add(0, 1000)
    const reserved = owners.slab.reservedBytes
    for (let i = 0; i < 1000; i++) {
      owners.remove(0)
      owners.add(0, 1000)
      assert.equal(owners.slab.reservedBytes, reserved)
    }
  })

  for (const length of [10, 100, 1000, 5000]) {
    test(`sparse pages are emptied and given back, blocks of ${length} bytes`, () => {
      const owners = new Owners()
      const total = Math.min(40_000, 20_000_000 / length / 4)
      for (let owner = 0; owner < total; owner++) owners.add(owner, length)
      const full = owners.slab.reservedBytes
      for (let owner = 0; owner < total; owner++) {
        if (owner % 10 !== 0) owners.remove(owner)
      }
      assert.ok(owners.moves > 0)
      const pageBytes = 2 * Math.max(65_536, 17 * (length + 320))
      assert.ok(
        owners.slab.reservedBytes < full * 0.25 + pageBytes,
        `${owners.slab.reservedBytes} of ${full}`,
      )
      owners.check()
    })
  }

  // Blocks of 1000 bytes: 64 to a page of 64 KiB.
  test('a page being emptied takes part again when the class fills up', () => {
    const owners = new Owners()
    for (let owner = 0; owner < 256; owner++) owners.add(owner, 1000)
    assert.equal(owners.slab.reservedBytes, 4 * 65_536)
    for (let owner = 0; owner < 256; owner += 2) owners.remove(owner)
    assert.equal(owners.moves, 2)
    // 128 of 256 are left; 34 of the victim's 64 slots are free and not to be had.
    for (let owner = 1000; owner < 1094; owner++) owners.add(owner, 1000)
    assert.equal(owners.slab.reservedBytes, 4 * 65_536)
    owners.remove(1000)
    assert.equal(owners.moves, 3)
    owners.check()
    for (let owner = 2000; owner < 2035; owner++) owners.add(owner, 1000)
    assert.equal(owners.blocks.size, 256)
    assert.equal(owners.slab.reservedBytes, 4 * 65_536)
    owners.check()
  })

  test('a page that is empty already is given back without a move', () => {
    const owners = new Owners()
    for (let owner = 0; owner < 256; owner++) owners.add(owner, 1000)
    for (let owner = 0; owner < 64; owner++) owners.remove(owner)
    assert.equal(owners.slab.reservedBytes, 4 * 65_536)
    for (let owner = 64; owner < 192; owner += 2) owners.remove(owner)
    assert.equal(owners.slab.reservedBytes, 3 * 65_536)
    assert.equal(owners.moves, 0)
    owners.check()
  })
})
