"""Names by which a model's source reaches what no model needs, and those by which it reaches what it may."""

from __future__ import annotations

#: Modules that reach outside what a model is given.
MODULES = {
    **dict.fromkeys(("inspect", "traceback", "gc", "ctypes", "_ctypes", "faulthandler"), "looks into the interpreter"),
    **dict.fromkeys(
        ("socket", "ssl", "http", "urllib", "requests", "httpx", "ftplib", "asyncio"), "reaches the network"
    ),
    **dict.fromkeys(
        ("subprocess", "multiprocessing", "threading", "_thread", "concurrent", "signal", "pty"), "starts others"
    ),
    **dict.fromkeys(
        ("importlib", "imp", "runpy", "pkgutil", "builtins", "code", "codeop", "logging.config"),
        "runs what is not read",
    ),
    **dict.fromkeys(("pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"), "runs what is not read"),
    **dict.fromkeys(
        ("os", "posix", "sys", "shutil", "tempfile", "mmap", "fcntl", "resource", "platform"), "asks the system"
    ),
    **dict.fromkeys(
        ("pathlib", "io", "_io", "glob", "linecache", "zipfile", "tarfile", "sqlite3", "safetensors", "h5py"),
        "opens files",
    ),
    **dict.fromkeys(("torchvision.datasets", "sklearn.datasets", "skimage.data", "suite.data"), "reads a dataset"),
    **dict.fromkeys(("time", "timeit", "datetime"), "reads the clock"),
    **dict.fromkeys(
        """
        torch.utils._python_dispatch torch.overrides torch._C torch.library torch.utils.cpp_extension numba cffi
        """.split(),  # noqa: SIM905
        "hides operations from a count",
    ),
}

#: Calls by name, and attributes of whatever object.
CALLS = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), "runs what is not read"),
    **dict.fromkeys(("globals", "locals", "vars", "breakpoint"), "looks into the interpreter"),
    **dict.fromkeys(("open", "input"), "opens files"),
}
#: Those that no thing of a model's own is called.
NEVER = {"eval", "exec", "__import__", "globals", "locals", "breakpoint"}
ATTRIBUTES = {
    **dict.fromkeys(
        ("f_back", "f_locals", "f_globals", "gi_frame", "cr_frame", "tb_frame", "_getframe"), "looks into frames"
    ),
    **dict.fromkeys(
        """
        __globals__ __code__ __closure__ __subclasses__ __builtins__ __dict__ __getattribute__ __self__ __loader__
        __spec__ __reduce__ __reduce_ex__ __import__
        """.split(),  # noqa: SIM905
        "looks into the interpreter",
    ),
    **dict.fromkeys(
        """
        _C _python_dispatch _disable_current_modes _pop_mode _DisableTorchDispatch __torch_dispatch__ __torch_function__
        custom_op triton_op register_kernel
        """.split(),  # noqa: SIM905
        "hides operations from a count",
    ),
    **dict.fromkeys(
        """
        Formatter get_field get_type_hints ForwardRef evaluate_forward_ref _eval_type BaseConfigurator sympify lambdify
        parse_expr singledispatch singledispatchmethod
        """.split(),  # noqa: SIM905
        "runs what is not read",
    ),
    **dict.fromkeys(
        """
        fromfile from_file memmap load_file safe_open load_state_dict_from_url loadtxt genfromtxt loadmat imread
        read_csv read_image read_file
        """.split(),  # noqa: SIM905
        "opens files",
    ),
}

#: By which attributes are reached whose names need not stand in the text.
GETTERS = {"getattr", "setattr", "delattr", "attrgetter", "methodcaller"}

#: By which libraries open files; a method of a model's own may be called so.
OPENERS = set(
    """
    load open hub DataSource fromregex open_memmap load_library FileHandler read_clipboard read_excel read_feather
    read_fwf read_hdf read_html read_json read_orc read_parquet read_pickle read_sas read_spss read_sql read_stata
    read_table read_xml unsafe_load
    """.split()  # noqa: SIM905
)

#: What a model may take of Python's own library. Modules that are installed beside it are not listed anywhere.
HARMLESS = set(
    """
    __future__ abc array base64 binascii bisect cmath collections contextlib copy csv dataclasses decimal enum fractions
    functools hashlib heapq itertools json logging math numbers operator pprint random re statistics string struct
    textwrap types typing unicodedata warnings weakref zlib
    """.split()  # noqa: SIM905  # a list of words
)

#: What a model takes of the suite, and why nothing else.
OFFERED, OWN = ("suite.contract", "suite.baselines"), "is the suite's own: what a model needs is in suite.contract"

#: Modules that other modules hold, so that they are reached without an import; none has a name that models give.
REACHED = set(
    """
    os posix sys ctypes _ctypes subprocess builtins importlib mmap inspect threading _thread gc _io linecache timeit
    pickle marshal shutil tempfile socket multiprocessing runpy pkgutil fcntl pathlib asyncio faulthandler sqlite3
    cloudpickle joblib dill shelve codeop
    """.split()  # noqa: SIM905
)
