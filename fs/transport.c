/* SPDX-License-Identifier: MIT */
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "fs.h"
#include "transport_dev.h"
#include "transport_uring.h"

struct transport {
	struct fs *fs;
	int device_fd; /* not ours to close */
	struct transport_dev *dev;
	struct transport_uring
		*uring; /* NULL where /dev/fuse serves alone; fs->uring is the same */
};

/* The queues first: INIT, which says whether they are wanted, is answered as soon as /dev/fuse is
 * served. */
int transport_start(struct fs *fs, int device_fd, struct transport **ret_transport)
{
	struct transport *transport = calloc(1, sizeof(*transport));
	int err;

	if (!transport)
		return -ENOMEM;
	transport->fs = fs;
	transport->device_fd = device_fd;
	transport->uring = fs->uring = transport_uring_new(fs, device_fd, transport);
	err = transport_dev_start(fs, device_fd, &transport->dev);
	if (err) {
		transport_uring_stop(transport->uring);
		transport_uring_wait(transport->uring);
		transport_uring_free(transport->uring);
		fs->uring = NULL;
		free(transport);
		return err;
	}
	*ret_transport = transport;
	return 0;
}

int transport_wait(struct transport *transport)
{
	int err = transport_dev_wait(transport->dev);
	int uring_err;

	/* The end of the connection ends the queues too; a broken device need not. */
	if (err)
		transport_uring_stop(transport->uring);
	uring_err = transport_uring_wait(transport->uring);
	return err ? err : uring_err;
}

bool transport_is_busy(struct transport *transport)
{
	struct pollfd device = { .fd = transport->device_fd, .events = POLLIN };

	return poll(&device, 1, 0) == 1 || transport_uring_is_busy(transport->uring);
}

void transport_stop(struct transport *transport)
{
	transport_uring_stop(transport->uring);
	transport_dev_stop(transport->dev);
}

void transport_free(struct transport *transport)
{
	transport_uring_free(transport->uring);
	transport->fs->uring = NULL;
	transport_dev_free(transport->dev);
	free(transport);
}
