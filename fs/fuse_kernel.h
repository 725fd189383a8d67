/* SPDX-License-Identifier: MIT */
#ifndef FS_FUSE_KERNEL_H
#define FS_FUSE_KERNEL_H

/*
 * <linux/fuse.h>, and the few definitions of later protocol versions that zcfs uses and older
 * headers lack. What the running kernel understands is settled by INIT, never by the headers that
 * happened to be installed. Source: Linux 6.18 and 7.3, include/uapi/linux/fuse.h (protocol 7.45
 * and 7.46).
 */

#include <linux/fuse.h>
#include <stdint.h>

/* The newest protocol that zcfs speaks. */
#define FUSE_PROTOCOL_MINOR 46

#if FUSE_KERNEL_MINOR_VERSION < 39
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#define FUSE_STATX		  52

struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t __reserved;
};

struct fuse_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t __spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t __spare2[14];
};

struct fuse_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 40
#define FUSE_PASSTHROUGH       (1ULL << 37)
#define FUSE_NO_EXPORT_SUPPORT (1ULL << 38)
#define FOPEN_PASSTHROUGH      (1 << 7)

struct fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define FUSE_DEV_IOC_BACKING_OPEN  _IOW(FUSE_DEV_IOC_MAGIC, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)

/* Fields that were padding before 7.40. */
static inline void fuse_open_out_set_backing_id(struct fuse_open_out *out, int32_t id)
{
	out->padding = (uint32_t)id;
}

static inline int32_t fuse_open_out_backing_id(const struct fuse_open_out *out)
{
	return (int32_t)out->padding;
}

static inline void fuse_init_out_set_stack_depth(struct fuse_init_out *out, uint32_t depth)
{
	out->unused[0] = depth;
}
#else
static inline void fuse_open_out_set_backing_id(struct fuse_open_out *out, int32_t id)
{
	out->backing_id = id;
}

static inline int32_t fuse_open_out_backing_id(const struct fuse_open_out *out)
{
	return out->backing_id;
}

static inline void fuse_init_out_set_stack_depth(struct fuse_init_out *out, uint32_t depth)
{
	out->max_stack_depth = depth;
}
#endif

#if FUSE_KERNEL_MINOR_VERSION < 42
#define FUSE_OVER_IO_URING (1ULL << 41)

/* What an entry of a queue is registered with: the headers of a request, then of its reply. */
#define FUSE_URING_IN_OUT_HEADER_SZ 128
#define FUSE_URING_OP_IN_OUT_SZ	    128

struct fuse_uring_ent_in_out {
	uint64_t flags;
	uint64_t commit_id; /* of the request, for the commit */
	uint32_t payload_sz; /* bytes in the payload, of the request or of the reply */
	uint32_t padding;
	uint64_t reserved;
};

struct fuse_uring_req_header {
	char in_out[FUSE_URING_IN_OUT_HEADER_SZ]; /* fuse_in_header, then fuse_out_header */
	char op_in[FUSE_URING_OP_IN_OUT_SZ]; /* the first argument of the operation */
	struct fuse_uring_ent_in_out ring_ent_in_out;
};

enum fuse_uring_cmd {
	FUSE_IO_URING_CMD_INVALID = 0,
	FUSE_IO_URING_CMD_REGISTER = 1,
	FUSE_IO_URING_CMD_COMMIT_AND_FETCH = 2,
};

/* In the second half of the SQE. */
struct fuse_uring_cmd_req {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_COPY_FILE_RANGE_64 53
#define FUSE_NOTIFY_PRUNE	9

struct fuse_copy_file_range_out {
	uint64_t bytes_copied;
};

struct fuse_notify_prune_out {
	uint32_t count;
	uint32_t padding;
	uint64_t spare;
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 46
#define FUSE_HAS_IO_URING_BUFPOOL (1ULL << 43)
#define FOPEN_IO_URING_ZERO_COPY  (1 << 8)
#define FUSE_URING_ENT_ZERO_COPY  (1 << 0) /* fuse_uring_ent_in_out.flags */
#define FUSE_URING_ZERO_COPY	  (1 << 0) /* flags of URING_CMD_ADD_QUEUE */

/* Where in the pool of the queue the payload lies; padding before 7.46. */
static inline uint32_t fuse_uring_offset(const struct fuse_uring_ent_in_out *entry)
{
	return entry->padding;
}
#else
static inline uint32_t fuse_uring_offset(const struct fuse_uring_ent_in_out *entry)
{
	return entry->offset;
}
#endif

/* Beside those of enum fuse_uring_cmd, since 7.46. */
enum {
	URING_CMD_ADD_QUEUE = 3,
	URING_CMD_ADD_BUFPOOL = 4,
};

/* struct fuse_uring_cmd_req as of 7.46: in older headers it ends with qid, and older kernels read
 * no further. */
struct uring_request_command {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
	union {
		struct {
			uint64_t address;
			uint32_t size;
			uint32_t reserved;
		} pool; /* of URING_CMD_ADD_BUFPOOL */
		uint16_t slot; /* of FUSE_IO_URING_CMD_REGISTER in a queue with zero copy */
	};
};

#endif
