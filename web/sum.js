// Writes the SHA-256 of every source beside what was built of it; a Go test
// recomputes it, so that a forgotten build is seen where there is no npm.
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'

const own = ['index.html', 'package-lock.json', 'package.json', 'tsconfig.json', 'vite.config.js']
const files = [...own, ...readdirSync('src').map(f => 'src/' + f)].sort()
const sum = createHash('sha256')
for (const f of files) sum.update(f + '\n').update(readFileSync(f))
writeFileSync('../httpapi/web/sources.sha256', sum.digest('hex') + '\n')
