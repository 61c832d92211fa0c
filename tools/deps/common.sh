# What the scripts beside this one share; each sources it: fetching files of Debian's pool, checked by
# hash, and compiling them. They work in a scratch directory, $work, and leave results in $out.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/verge
downloads=$cache/downloads
CC=${DEPS_CC:-gcc}
CXX=${DEPS_CXX:-g++}
flags=(-O2 -g -ffunction-sections -fdata-sections -w)
cxx_flags="-std=gnu++17 -fno-exceptions -fno-rtti"

die() {
    echo "verge: $*" >&2
    exit 1
}

# manifest_field NAME COLUMN
manifest_field() {
    awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$here"/manifest*
}

# ---- fetching ----

# The base addresses of the mirrors this machine's apt is configured for, one per line.
mirrors() {
    local base
    apt-get --print-uris update 2>/dev/null | sed -n "s#^'\(.*\)/dists/.*#\1#p" | sort -u |
        while read -r base; do
            case $base in
            # A list of mirrors in a file, as cloud images have it.
            mirror+file:*) awk '/^[a-z]+:/ { sub("/$", "", $1); print $1 }' "${base#mirror+file:}" ;;
            *) echo "$base" ;;
            esac
        done
}

has_hash() {
    echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

# fetch NAME: leaves the file in $downloads. apt-helper brings apt's proxy settings with it.
# The pool is one for all releases, so a Debian 12 machine finds Debian 13's files there.
fetch() {
    local path hash file base pool
    path=$(manifest_field "$1" 3) hash=$(manifest_field "$1" 4)
    file=$downloads/${path##*/}
    has_hash "$file" "$hash" && return
    for base in $(mirrors); do
        for pool in pool/main pool/updates/main; do
            /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
                "$base/$pool/$path" "$file.part" "SHA256:$hash" >"$downloads/log" 2>&1 || continue
            mv "$file.part" "$file"
            return
        done
    done
    rm -f "$file.part"*
    return 1
}

must_fetch() {
    fetch "$1" || die "cannot download ${2:-$1}: none of this machine's apt mirrors" \
        "($(mirrors | paste -sd' ')) gives $(manifest_field "$1" 3); check the network or proxy," \
        "or put that file (sha256 $(manifest_field "$1" 4)) into $downloads and run make again."
}

# unpack NAME [TAR-OPTION...]: extracts the archive into ./NAME
unpack() {
    local path
    path=$(manifest_field "$1" 3)
    mkdir -p "$1"
    tar -C "$1" -xf "$downloads/${path##*/}" "${@:2}"
}

source_of() {
    must_fetch "$1"
    unpack "$1" --strip-components=1
}

# apply_fix NAME CVE: one of Debian's security patches, which the upstream tarball lacks.
apply_fix() {
    must_fetch "$1-patches"
    unpack "$1-patches"
    patch -d "$1" -p1 -F0 -N -s <"$1-patches/debian/patches/$2.patch" >&2 ||
        die "the fix for $2 no longer applies to $1 $(manifest_field "$1" 2);" \
            "the versions in tools/deps/manifest do not belong together."
}

# ---- compiling ----

# What the configure scripts of the ng* libraries would find on any Linux with glibc.
glibc=(-D_GNU_SOURCE -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H -DHAVE_NETINET_IP_H -DHAVE_UNISTD_H
    -DHAVE_ENDIAN_H -DHAVE_BYTESWAP_H -DHAVE_ASM_TYPES_H -DHAVE_LINUX_NETLINK_H
    -DHAVE_LINUX_RTNETLINK_H -DHAVE_DECL_BE64TOH=1 -DHAVE_DECL_BSWAP_64=1 -DHAVE_EXPLICIT_BZERO
    -DHAVE_CLOCK_GETTIME -DHAVE_DECL_CLOCK_MONOTONIC=1)

# compile_into DIRECTORY FLAG... -- FILE...: leaves the objects there
compile_into() {
    local directory=$1 options=()
    mkdir -p "$directory"
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    printf '%s\n' "$@" | CC=$CC CXX="$CXX $cxx_flags" xargs -P "$(nproc)" -I{} bash -c '
        file=$1 directory=$2
        shift 2
        compiler=$CC
        [[ $file == *.cc ]] && compiler=$CXX
        exec $compiler "$@" -c "$file" -o "$directory/${file//\//_}.o"
    ' - {} "$directory" "${flags[@]}" "${options[@]}" >&2
}

# compile LIBRARY FLAG... -- FILE...: adds the objects to $out/lib/LIBRARY
compile() {
    local objects
    objects=$(mktemp -d objects.XXXXXX)
    compile_into "$objects" "${@:2}" || die "compiling $1 failed."
    ar rcs "$out/lib/$1" "$objects"/*.o
}

# ---- building once ----

# build_once TARGET FUNCTION: unless TARGET is there, runs FUNCTION in a scratch directory beside it and
# renames its $out to TARGET at the end, so that an interrupted build leaves nothing that looks
# finished, and nothing at all after the next. Whoever waited for another's build finds it ready.
build_once() {
    [ -d "$1" ] && return
    mkdir -p "$downloads"
    exec 9>"$cache/lock"
    flock 9
    if [ ! -d "$1" ]; then (build_aside "$@"); fi
    exec 9>&-
}

build_aside() {
    rm -rf "$cache"/work.*
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    out=$work/out
    mkdir -p "$out"
    cd "$work"
    "$2"
    mv "$out" "$1"
    cd /
}

# point LINK TARGET
point() {
    mkdir -p "$(dirname "$1")"
    [ "$(readlink "$1")" = "$2" ] || ln -sfn "$2" "$1"
}
