package power

// AddChecked adds b to a and reports whether the sum fits into 64 bits; if not, a
// is unchanged.
func AddChecked[T ~int64](a *T, b T) bool {
	sum := *a + b
	if (sum > *a) != (b > 0) && b != 0 {
		return false
	}
	*a = sum
	return true
}
