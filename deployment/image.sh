#!/bin/sh
# Builds and runs the image with the first of docker, podman and buildah that is
# there and works: a docker client without an engine does not count.
#
#	image.sh build
#	image.sh run [arguments of wattledger]
#
# ENGINE chooses one. IMAGE, VERSION, BUILD_IMAGE, BASE_IMAGE go into the build;
# BUILDAH_FLAGS and BUILD_FLAGS are passed on, before and after the subcommand.
set -eu
cd "$(dirname "$0")/.."
IMAGE=${IMAGE:-wattledger}
PORT=${PORT:-9201}

engine() {
	if [ -n "${ENGINE:-}" ]; then
		echo "$ENGINE"
	elif docker info >/dev/null 2>&1; then
		echo docker
	elif podman info >/dev/null 2>&1; then
		echo podman
	elif buildah version >/dev/null 2>&1; then
		echo buildah
	else
		echo "image.sh: none of docker, podman and buildah works here" >&2
		return 1
	fi
}

# Without user namespaces or an overlay file system buildah needs these.
buildah_flags() {
	if [ -n "${BUILDAH_FLAGS:-}" ]; then
		echo "$BUILDAH_FLAGS"
	elif ! buildah info >/dev/null 2>&1; then
		echo --storage-driver vfs
	fi
}

build() {
	set -- ${BUILD_FLAGS:-} --build-arg "VERSION=${VERSION:-unknown}" -t "$IMAGE"
	[ -z "${BUILD_IMAGE:-}" ] || set -- "$@" --build-arg "BUILD_IMAGE=$BUILD_IMAGE"
	[ -z "${BASE_IMAGE:-}" ] || set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"
	case $engine in
	buildah) buildah $(buildah_flags) bud --isolation chroot "$@" . ;;
	*) "$engine" build "$@" . ;;
	esac
}

run() {
	case $engine in
	buildah)
		container=$(buildah $(buildah_flags) from --pull-never "$IMAGE")
		trap 'buildah $(buildah_flags) rm "$container" >/dev/null' EXIT
		[ $# -gt 0 ] || set -- serve --storage.path=/data --web.listen-address=:9201
		buildah $(buildah_flags) run --isolation chroot "$container" -- /usr/local/bin/wattledger "$@"
		;;
	*) "$engine" run --rm -p "$PORT:9201" -v wattledger:/data "$IMAGE" "$@" ;;
	esac
}

engine=$(engine)
case ${1:-} in
build) build ;;
run)
	shift
	run "$@"
	;;
*)
	echo "usage: $0 build | run [arguments]" >&2
	exit 2
	;;
esac
