package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
)

// A shape is how power moves over time, from 0 (base) to 1 (peak). t and
// started are Unix milliseconds; seed sets loads of one shape apart.
type shape func(t, started int64, seed uint64) float64

const hourMs = 3_600_000

// diurnal follows the working day: low at four in the morning, high at four in the afternoon.
func diurnal(t, _ int64, seed uint64) float64 {
	hour := float64(t%(24*hourMs)) / hourMs
	day := (1 + math.Cos((hour-16)/24*2*math.Pi)) / 2
	return clamp(0.85*day + 0.15*noise(seed, t/15_000))
}

// bursty is idle most of the time and at its peak when requests come in.
func bursty(t, started int64, seed uint64) float64 {
	day := 0.25 + 0.4*diurnal(t, started, seed)
	if noise(seed, t/20_000) < day {
		return clamp(0.7 + 0.3*noise(seed+1, t/5_000))
	}
	return 0.05 * noise(seed+2, t/5_000)
}

// training is at its peak but for a checkpoint every ten minutes.
func training(t, _ int64, seed uint64) float64 {
	if (t/1000+int64(seed%600))%600 < 20 {
		return 0.25
	}
	return clamp(0.93 + 0.07*noise(seed, t/10_000))
}

// batch ramps up over half a minute and then works flat out.
func batch(t, started int64, seed uint64) float64 {
	ramp := min(1, max(0.1, float64(t-started)/30_000))
	return clamp(ramp * (0.85 + 0.15*noise(seed, t/5_000)))
}

// steady hardly moves.
func steady(t, _ int64, seed uint64) float64 {
	return 0.4 + 0.2*noise(seed, t/10_000)
}

// compacting is steady with a few busy minutes in every hour.
func compacting(t, started int64, seed uint64) float64 {
	if (t/60_000+int64(seed%60))%60 < 6 {
		return clamp(0.8 + 0.2*noise(seed, t/5_000))
	}
	return 0.5 * diurnal(t, started, seed)
}

func clamp(x float64) float64 { return max(0, min(1, x)) }

// noise is a number in [0, 1) that depends on nothing but its arguments.
func noise(seed uint64, step int64) float64 { return unit(seed, uint64(step)) }

func unit(seed, n uint64) float64 { return float64(mix(seed^mix(n))>>11) / (1 << 53) }

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hash(seed uint64, text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return mix(seed ^ h.Sum64())
}

// hexID returns n bytes of hash as hexadecimal digits.
func hexID(seed uint64, n int) string {
	b := make([]byte, 0, n+8)
	for i := uint64(0); len(b) < n; i++ {
		b = binary.BigEndian.AppendUint64(b, mix(seed+i))
	}
	return hex.EncodeToString(b[:n])
}

func uuid(seed uint64) string {
	h := hexID(seed, 16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:]
}

// suffix returns n characters as Kubernetes appends them to generated names.
func suffix(seed uint64, n int) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[mix(seed+uint64(i))%uint64(len(alphabet))]
	}
	return string(b)
}
