# The whole developer interface. `make` alone lists it.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run demo cli backup restore test check format lock clean reset tamper

VENV := .venv
PY := $(VENV)/bin/python
STATE := $(or $(STATE_DIR),.zhiwang)
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3
# A virtual environment whose Python is gone is made anew.
STALE := $(shell [ ! -e $(VENV)/.stamp-venv ] || $(PY) -c '' 2>/dev/null || rm -f $(VENV)/.stamp-*)
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes

help: ## 列出命令 · list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.stamp-run ## 启动全部服务（PORT=8000）· start everything
	@exec $(PY) -m backend.dev

demo: $(VENV)/.stamp-run ## 在运行中的服务上演示一天 · play the demo day on the running stack
	@exec $(PY) -m backend.dev cli demo

cli: $(VENV)/.stamp-run ## 对运行中的服务执行命令 · the command line on the running stack: make cli ARGS="--help"
	@exec $(PY) -m backend.dev cli $(ARGS)

backup: $(VENV)/.stamp-run ## 备份数据库与照片（TO=目录）· back up the database and the photographs, not the keys
	@exec $(PY) -m backend.dev cli backup create $(if $(TO),--to "$(abspath $(TO))")

restore: $(VENV)/.stamp-run ## 停止后恢复（FROM=目录 AT=时间 REPLACE=1）· restore a backup while the stack is stopped
	@test -n "$(FROM)" || { echo "✗ make restore FROM=备份目录 · FROM=the folder of a backup"; exit 1; }
	@exec $(PY) -m backend.dev restore "$(abspath $(FROM))" $(if $(AT),--at "$(AT)") $(if $(REPLACE),--replace)

test: $(VENV)/.stamp-test ## 全部检查与测试 · everything that must hold
	@exec $(PY) tests/run.py

check: $(VENV)/.stamp-test ## 不含测试的检查 · lint, types, import contracts
	@exec $(PY) tests/run.py --without-tests

format: $(VENV)/.stamp-test ## 统一代码格式 · format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

.PHONY: simulate simulate-api
simulate: $(VENV)/.stamp-test ## 同步协议的模型历史（HISTORIES=1000 SEED=0）· model histories of the sync
	@exec $(PY) -m bench.simulate --histories $(or $(HISTORIES),1000) --seed $(or $(SEED),0)

simulate-api: $(VENV)/.stamp-test ## 同样的历史跑真实接口与数据库（HISTORIES=1000 SEED=0）· the same histories on the real API
	@exec $(PY) -m bench.simulate_api --histories $(or $(HISTORIES),1000) --seed $(or $(SEED),0)

.PHONY: canaries bench-feed bench-sealing bench-sync bench-trust
canaries: $(VENV)/.stamp-test ## 一万个合成身份走遍全流程，逐字节查找 · 10,000 synthetic identities, then every byte searched for them
	@exec $(PY) -m bench.canaries $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.stamp-test ## 边推送边杀进程：不丢不重（FAULTS=200 SEED=0）· kill everything under load; nothing lost or doubled
	@exec $(PY) -m bench.chaos --faults $(or $(FAULTS),200) --seed $(or $(SEED),0)

bench-sealing: $(VENV)/.stamp-test ## 加密算法的速度 · what the ciphers cost against no encryption
	@exec $(PY) -m bench.sealing $(ARGS)

bench-feed: $(VENV)/.stamp-test ## 变更流约束的开销 · what it costs that no change goes unheard
	@exec $(PY) -m bench.feed_wall $(ARGS)

bench-sync: $(VENV)/.stamp-test ## 同步速度：对比 Kinto、PouchDB 与数据库极限 · push and pull next to Kinto, PouchDB and the raw limit
	@exec $(PY) -m bench.sync $(ARGS)

bench-trust: $(VENV)/.stamp-test ## 加密、审计、授权对同步速度的影响 · what encryption, audit and authorisation cost
	@exec $(PY) -m bench.trust $(ARGS)

.PHONY: bench-crosscheck
bench-crosscheck: $(VENV)/.stamp-test ## 数据比对的准确率与速度：对比 Splink、recordlinkage · the cross-check next to Splink and recordlinkage
	@$(PY) -m bench.crosscheck_import $(IMPORT_ARGS)
	@exec $(PY) -m bench.crosscheck $(ARGS)

.PHONY: bench-recheck
bench-recheck: $(VENV)/.stamp-test ## 找出新快照涉及的数据要多久 · how long it takes to find the entries that a new snapshot touches
	@exec $(PY) -m bench.recheck $(ARGS)

COMPILE = $(VENV)/bin/uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --quiet
extra = $(PY) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$(1)'], sep='\n')"

lock: $(VENV)/.stamp-run ## 重新生成依赖锁文件 · write the lock files anew
	@$(PY) -m pip install --disable-pip-version-check --quiet uv
	@$(COMPILE) --extra embedded -o requirements.lock pyproject.toml
	@$(COMPILE) --extra embedded --extra reconcile --extra dev -c requirements.lock \
		-o requirements-dev.lock pyproject.toml
	@$(call extra,reconcile) | $(COMPILE) -c requirements-dev.lock -o requirements-reconcile.lock -
	@$(call extra,spark) | $(COMPILE) -c requirements-dev.lock -o requirements-spark.lock -

tamper: $(VENV)/.stamp-run ## 篡改审计记录并校验（N=10000）· tamper with the audit trail and verify
	@exec $(PY) bench/tamper.py --number $(or $(N),10000)

reset: ## 删除本地数据，下次运行重新开始 · remove the local data; the next run starts afresh
	@if [ -e "$(STATE)/lock" ] && command -v flock >/dev/null && ! flock -n "$(STATE)/lock" true; then \
		echo "✗ 服务正在运行，请先按 Ctrl-C 停止 · the stack is running, stop it first"; exit 1; fi
	@if [ -L "$(STATE)/postgres/cluster" ]; then place="$$(readlink "$(STATE)/postgres/cluster")"; rm -rf "$$place" "$$place"-before-*; fi
	@rm -rf "$(STATE)"

clean: reset ## 删除本地数据、虚拟环境与缓存 · also remove the virtual environment and caches
	@rm -rf $(VENV) tests/simulation/handheld/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate may be a shim that fails, or lack venv: it has to show that it works.
$(VENV)/.stamp-venv:
	@if [ -x $(PY) ] && $(PY) -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(PYTHONS); do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "… 创建虚拟环境 · making $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv --clear $(VENV) && touch $@; exit $$?; \
		fi; \
	done; \
	echo "✗ 需要 Python 3.11 或更新版本（含 venv）· Python 3.11 or newer with venv is needed"; \
	echo "  Debian/Ubuntu: apt install python3 python3-venv; 或指定 · or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; \
	exit 1

$(VENV)/.stamp-run: $(VENV)/.stamp-venv requirements.lock
	@echo "… 安装依赖（首次约一分钟）· installing the locked dependencies (about a minute the first time)"
	@$(PIP) -r requirements.lock
	@touch $@

# The larger lock holds the smaller one whole, so one of them is installed, not both.
$(VENV)/.stamp-test: $(VENV)/.stamp-venv requirements.lock requirements-dev.lock
	@echo "… 安装依赖与开发工具（首次约一分钟）· installing the locked dependencies and tools (about a minute the first time)"
	@$(PIP) -r requirements-dev.lock
	@touch $@ $(VENV)/.stamp-run

.PHONY: test-api-fuzz attack-tokens
test-api-fuzz: $(VENV)/.stamp-test ## 按接口文档随机测试（一万例）· fuzz the API by its own document
	@exec $(PY) -m bench.api_fuzz $(ARGS)
attack-tokens: $(VENV)/.stamp-test ## 攻击登录与令牌 · attack logins and tokens
	@exec $(PY) -m bench.attack_tokens $(ARGS)

.PHONY: simulate-rxdb
simulate-rxdb: $(VENV)/.stamp-test ## 真实 RxDB 客户端的随机历史（SEEDS=50）· random histories of real RxDB clients
	@exec $(PY) -m bench.simulate_rxdb --seeds $(or $(SEEDS),50) --first $(or $(FIRST),0)

.PHONY: bench-media bench-twins media-corpora media-faults
bench-media: $(VENV)/.stamp-test ## 照片处理与上传的速度：对比 Pillow、pyvips、sharp、裸写盘 · photos next to Pillow, pyvips, sharp, and bare writing
	@$(PY) -m bench.media $(ARGS)
	@exec $(PY) -m bench.media_uploads $(UPLOAD_ARGS)

media-faults: $(VENV)/.stamp-test ## 坏线路上传照片，服务随时被杀（UPLOADS=200）· photos over a line that breaks, to servers that are killed
	@exec $(PY) -m bench.media_faults --uploads $(or $(UPLOADS),200) $(ARGS)

media-corpora: $(VENV)/.stamp-test ## 一个文件夹里的图片逐个走完照片流程（DIR=目录）· every file of a folder goes the way of a photo
	@test -n "$(DIR)" || { echo "✗ make media-corpora DIR=图片目录 · DIR=a folder of pictures"; exit 1; }
	@exec $(PY) -m bench.media_corpora "$(DIR)"

bench-twins: $(VENV)/.stamp-test ## 在一百万张照片里查重的速度 · how the search for the likes of a photo grows
	@exec $(PY) -m bench.media_twins $(ARGS)

# Half a gigabyte, so in a folder of its own: without it on the path the tests of Spark are skipped.
SPARK := $(VENV)/spark

.PHONY: bench-reconcile
bench-reconcile: $(VENV)/.stamp-test ## 批量比对：二十万条采集数据比对一百万条业务数据 · 200,000 collected records against a million
	@exec $(PY) -m bench.reconcile $(ARGS)

.PHONY: test-spark
test-spark: $(SPARK)/.stamp ## 批量比对：Spark 与 DuckDB 结果一致（需要 Java）· Spark gives what DuckDB gives; needs Java
	@command -v java >/dev/null || { echo "✗ 需要 Java 17 · Java 17 is needed"; exit 1; }
	@PYTHONPATH=$(abspath $(SPARK)) exec $(PY) -m pytest -q tests/rooms/test_reconcile_engines.py $(ARGS)

$(SPARK)/.stamp: $(VENV)/.stamp-test requirements-spark.lock
	@echo "… 安装 Spark（约 490 MB）· installing Spark (about 490 MB)"
	@$(PIP) --target $(SPARK) --upgrade -r requirements-spark.lock
	@touch $@
