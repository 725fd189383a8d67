# SPDX-License-Identifier: MIT
#
# Makes of raw.csv of mount-scripts/bench what is for people:
#
#     awk -v part=markdown|csv|summary -f report.awk raw.csv
#     awk -v part=costs -v size=BYTES -f report.awk raw.csv          of the large file
#     awk -v part=plot -v filesystem=NAME -f report.awk raw.csv      SVG; nothing without lines of it
#
# A line of raw.csv: filesystem;workload;subject;round;label;better;unit;value;seconds;CPU seconds of
# the client;of the daemon;growth of the page cache in KiB;peak memory of the daemon in KiB;compared.
# No more than POSIX asks of awk.

BEGIN {
	FS = ";"
}

{
	row = $1 FS $2 FS $5
	if (!(row in better)) {
		row_list[++row_count] = row
		better[row] = $6
		unit[row] = $7
	}
	if (!($3 in known_subject)) {
		subject_list[++subject_count] = $3
		known_subject[$3] = subject_count
	}
	cell = row FS $3
	n = ++rounds[cell]
	value[cell, n] = $8
	measured[cell] = $9 != ""
	client[cell, n] = $10
	served[cell, n] = $11
	cache[cell, n] = $12
	if ($13 + 0 > memory[cell]) memory[cell] = $13 + 0
	if (compared[cell] != "DIFFERS") compared[cell] = $14
}

# The median of array[cell, 1..n]; sorted[] has them in order afterwards.
function median(array, cell,    n, i, j, swap) {
	n = rounds[cell]
	for (i = 1; i <= n; i++) {
		sorted[i] = array[cell, i] + 0
		for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) {
			swap = sorted[j]
			sorted[j] = sorted[j - 1]
			sorted[j - 1] = swap
		}
	}
	if (!n) return 0
	return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function lowest(cell) {
	median(value, cell)
	return sorted[1]
}

function highest(cell) {
	median(value, cell)
	return sorted[rounds[cell]]
}

# How many times as good a value is as the median of another subject; 0 when nobody can tell.
function ratio(row, this, other,    that) {
	that = median(value, row FS other)
	if (!rounds[row FS other] || this <= 0 || that <= 0) return 0
	return better[row] == "higher" ? this / that : that / this
}

function of_native(row, subject) {
	return ratio(row, median(value, row FS subject), "native")
}

function number(x) {
	return sprintf(x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : "%.2f", x)
}

function number_of_ratio(x) {
	return x > 0 ? sprintf(x < 0.095 ? "%.3f" : "%.2f", x) : "-"
}

function filesystem_of(row) {
	return substr(row, 1, index(row, FS) - 1)
}

function workload_of(row,    parts) {
	split(row, parts, FS)
	return parts[2]
}

function label_of(row,    parts) {
	split(row, parts, FS)
	return parts[3]
}

function print_markdown(    i, j, row, cell, subject) {
	print "Medians, and the least and the most of all rounds. \"of native\": how many times as fast as the"
	print "backing directory itself; 0.50 is half as fast. CPU: seconds of the client and of the daemon. Page"
	print "cache: its growth on the whole machine. Memory: the most that the daemon has used."
	print ""
	print "| workload | filesystem | | subject | median | unit | least to most | rounds | of native | CPU client | CPU daemon | page cache MiB | memory MiB | compared |"
	print "|---|---|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|---|"
	for (i = 1; i <= row_count; i++) {
		row = row_list[i]
		for (j = 1; j <= subject_count; j++) {
			subject = subject_list[j]
			cell = row FS subject
			if (!rounds[cell]) continue
			printf "| %s | %s | %s | %s | %s | %s |", workload_of(row), filesystem_of(row),
				label_of(row), subject, number(median(value, cell)), unit[row]
			printf " %s to %s | %d | %s |", number(lowest(cell)), number(highest(cell)),
				rounds[cell], number_of_ratio(of_native(row, subject))
			if (measured[cell])
				printf " %.2f | %.2f | %.0f |", median(client, cell),
					median(served, cell), median(cache, cell) / 1024
			else
				printf " | | |"
			printf " %s | %s |\n", memory[cell] ? sprintf("%.1f", memory[cell] / 1024) : "",
				compared[cell]
		}
	}
}

function print_csv(    i, j, row, cell, subject) {
	print "filesystem,workload,better,subject,unit,median,min,max,of_native,rounds,cpu_client_s," \
		"cpu_daemon_s,page_cache_kib,compared,daemon_peak_kib,label"
	for (i = 1; i <= row_count; i++) {
		row = row_list[i]
		for (j = 1; j <= subject_count; j++) {
			subject = subject_list[j]
			cell = row FS subject
			if (!rounds[cell]) continue
			printf "%s,%s,%s,%s,%s,%.3f,%.3f,%.3f,%.3f,%d,", filesystem_of(row),
				workload_of(row), better[row], subject, unit[row], median(value, cell),
				lowest(cell), highest(cell), of_native(row, subject), rounds[cell]
			if (measured[cell])
				printf "%.3f,%.3f,%d,", median(client, cell), median(served, cell),
					median(cache, cell)
			else
				printf ",,,"
			printf "%s,%d,\"%s\"\n", compared[cell], memory[cell], label_of(row)
		}
	}
}

# ---- the summary ----

function add_line(how_good, text,    i) {
	for (i = ++line_count; i > 1 && line_ratio[i - 1] > how_good; i--) {
		line_ratio[i] = line_ratio[i - 1]
		line_text[i] = line_text[i - 1]
	}
	line_ratio[i] = how_good
	line_text[i] = text
}

function print_lines(title, least, most,    i, any) {
	print "## " title "\n"
	for (i = 1; i <= line_count; i++) {
		if (line_ratio[i] < least || line_ratio[i] >= most) continue
		if (!any++) {
			print "| ratio | subject | filesystem | workload | this | other | unit |"
			print "|--:|---|---|---|--:|--:|---|"
		}
		print line_text[i]
	}
	print any ? "" : "None.\n"
}

function line_of(row, subject, other, how_good) {
	return sprintf("| %s | %s | %s | %s | %s | %s%s | %s |", number_of_ratio(how_good), subject,
		filesystem_of(row), label_of(row), number(median(value, row FS subject)),
		other == "native" ? "" : other " ", number(median(value, row FS other)), unit[row])
}

function best_daemon(row,    j, subject, found, r) {
	found = ""
	for (j = 1; j <= subject_count; j++) {
		subject = subject_list[j]
		if (subject !~ /^(passthrough_ll|bindfs|mergerfs)$/ || !rounds[row FS subject]) continue
		if (found == "" || ratio(row, median(value, row FS subject), found) > 1) found = subject
	}
	return found
}

function print_summary(    i, j, row, subject, other, r) {
	for (i = 1; i <= row_count; i++) {
		row = row_list[i]
		for (j = 1; j <= subject_count; j++) {
			subject = subject_list[j]
			r = subject ~ /^zcfs/ ? of_native(row, subject) : 0
			if (r > 0) add_line(r, line_of(row, subject, "native", r))
		}
	}
	print_lines("Slower than the backing directory: below 1.0", 0, 0.995)
	print_lines("As fast as the backing directory, or faster", 0.995, 1e30)
	line_count = 0
	for (i = 1; i <= row_count; i++) {
		row = row_list[i]
		other = best_daemon(row)
		r = other == "" ? 0 : ratio(row, median(value, row FS "zcfs"), other)
		if (r > 0 && rounds[row FS "zcfs"]) add_line(r, line_of(row, "zcfs", other, r))
	}
	if (!line_count) return
	print_lines("Slower than the best other daemon: below 1.0", 0, 0.995)
	print_lines("As fast as the best other daemon, or faster", 0.995, 1e30)
}

# What a cold copy of the large file costs beside time. The reference is what copies bytes as well: a
# clone costs nothing.
function print_costs(    i, j, row, cell, other, cpu, reference) {
	print "## What the cold copy of the large file costs\n"
	print "Processor seconds of client and daemon, to be compared with those of native-no-reflink; how much"
	print "the page cache of the machine has grown, as a part of the file; the daemon's memory.\n"
	print "| filesystem | subject | CPU s | of native-no-reflink | page cache | memory MiB |"
	print "|---|---|--:|--:|--:|--:|"
	for (i = 1; i <= row_count; i++) {
		row = row_list[i]
		if (workload_of(row) != "copy_cold") continue
		other = row FS "native-no-reflink"
		reference = median(client, other)
		for (j = 1; j <= subject_count; j++) {
			cell = row FS subject_list[j]
			if (!rounds[cell]) continue
			cpu = median(client, cell) + median(served, cell)
			printf "| %s | %s | %.3f | %s | %.0f %% | %s |\n", filesystem_of(row), subject_list[j],
				cpu, (reference > 0 ? number_of_ratio(cpu / reference) : "-"),
				median(cache, cell) * 1024 * 100 / size,
				memory[cell] ? sprintf("%.1f", memory[cell] / 1024) : ""
		}
	}
	print ""
}

# ---- the plot: ratios to the backing directory, from 1/64 to 8, by logarithm ----

function x_of(r) {
	r = log(r) / log(2)
	r = r < -6 ? -6 : r > 3 ? 3 : r
	return 592 + r * 92
}

function escaped(text) {
	gsub(/&/, "\\&amp;", text)
	gsub(/</, "\\&lt;", text)
	return text
}

function text_at(x, y, anchor, text) {
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, escaped(text)
}

function draw_bar(row, subject, y,    cell, r, from, to, left, right) {
	cell = row FS subject
	r = of_native(row, subject)
	from = x_of(r < 1 ? r : 1)
	to = x_of(r < 1 ? 1 : r)
	printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"9\" fill=\"%s\"/>\n", from, y,
		to - from < 1 ? 1 : to - from, colours[(known_subject[subject] - 1) % 12 + 1]
	left = x_of(ratio(row, lowest(cell), "native"))
	right = x_of(ratio(row, highest(cell), "native"))
	printf "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#000\"/>\n", left, y + 4.5, right
	text_at(890, y + 8, "start", subject " " number_of_ratio(r))
}

# A heading and the bars of one label from y on; returns where the next label may begin. With dry
# nothing is drawn. A label that cannot be compared takes no room.
function draw_row(row, y, dry,    j, subject, top) {
	top = y
	for (j = 1; j <= subject_count; j++) {
		subject = subject_list[j]
		if (subject == "native" || of_native(row, subject) <= 0) continue
		if (y == top) y += 16
		if (!dry) draw_bar(row, subject, y)
		y += 11
	}
	if (y == top) return top
	if (!dry) text_at(10, top + 12, "start", workload_of(row) ": " label_of(row) ", " unit[row])
	return y + 10
}

function print_plot(    i, y, k, row, bottom) {
	split("#0072b2 #56b4e9 #009e73 #cc79a7 #e69f00 #d55e00 #f0e442 #999999 #332288 #88ccee #117733 #aa4499",
		colours, " ")
	bottom = 50
	for (i = 1; i <= row_count; i++)
		if (filesystem_of(row_list[i]) == filesystem) bottom = draw_row(row_list[i], bottom, 1)
	if (bottom == 50) return
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1080\" height=\"%d\" font-family=\"sans-serif\" font-size=\"10\">\n",
		bottom + 20
	printf "<rect width=\"1080\" height=\"%d\" fill=\"#fff\"/>\n", bottom + 20
	text_at(10, 18, "start", filesystem ": times as fast as the backing directory, medians and all rounds; the right is better")
	for (k = -6; k <= 3; k++) {
		printf "<path d=\"M%.1f 40V%.1f\" stroke=\"%s\"/>\n", 592 + 92 * k, bottom,
			k ? "#ddd" : "#000"
		text_at(592 + 92 * k, 36, "middle", k < 0 ? "1/" 2 ^ -k : 2 ^ k)
	}
	y = 50
	for (i = 1; i <= row_count; i++)
		if (filesystem_of(row_list[i]) == filesystem) y = draw_row(row_list[i], y, 0)
	print "</svg>"
}

END {
	if (part == "markdown") print_markdown()
	else if (part == "csv") print_csv()
	else if (part == "summary") print_summary()
	else if (part == "costs") print_costs()
	else if (part == "plot") print_plot()
}
