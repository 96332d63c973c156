"""Chat templates in the styles of known models, each written anew and as short as it goes."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

# The words of each style that are tokens; the first begins a text and the second ends one.
TOKENS = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "chatml-without-default": ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    "llama-3": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "llama-3-dated": (
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ),
    "llama-2": ("<s>", "</s>"),
    "mistral": ("<s>", "</s>"),
    "mistral-system-last": ("<s>", "</s>", "[INST]", "[/INST]"),
    "gemma": ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "gemma-without-system": ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "qwen3": ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    "phi-3": ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "zephyr": ("<s>", "</s>"),
    "plain": ("<s>", "</s>"),
}
_IN_TURN = (
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
_LLAMA_3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{ 'Cutting Knowledge Date: December 2023\n' }}{{ 'Today Date: ' + date + '\n\n' }}"
    "{{ system }}{{ '<|eot_id|>' }}"
    "{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim }}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_GEMMA = (
    "{% for m in messages %}" + _IN_TURN + "{{ '<start_of_turn>' }}"
    "{{ ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
    "{{ (first if loop.first else '') + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
TEMPLATES = {
    "chatml": (
        "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "chatml-without-default": (
        "{% for m in messages %}"
        "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama-3": "{% set date = '26 Jul 2024' %}" + _LLAMA_3,
    "llama-3-dated": (
        "{% if strftime_now is defined %}{% set date = strftime_now('%d %b %Y') %}"
        "{% else %}{% set date = '26 Jul 2024' %}{% endif %}" + _LLAMA_3
    ),
    "llama-2": (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set first = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}"
        "{% for m in messages %}" + _IN_TURN + "{% if m['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + (first if loop.first else '') + m['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}" + _IN_TURN + "{% if m['role'] == 'user' %}"
        "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}"
        "{{ m['content'] + eos_token + ' ' }}{% else %}"
        "{{ raise_exception('Only user and assistant roles are supported!') }}"
        "{% endif %}{% endfor %}"
    ),
    "mistral-system-last": (
        "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
        "{% set messages = messages[1:] %}{% endif %}{{ bos_token }}"
        "{% for m in messages %}" + _IN_TURN + "{% if m['role'] == 'user' %}"
        "{% if loop.last and system is defined %}"
        "{{ '[INST] ' + system + '\n\n' + m['content'] + '[/INST]' }}"
        "{% else %}{{ '[INST] ' + m['content'] + '[/INST]' }}{% endif %}"
        "{% else %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{% set first = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}"
        "{% else %}{% set first = '' %}{% endif %}" + _GEMMA
    ),
    "gemma-without-system": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% set first = '' %}" + _GEMMA
    ),
    "qwen3": (
        "{% if messages[0].role == 'system' %}"
        "{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{% endif %}"
        "{% set ns = namespace(last=messages | length - 1, open=true) %}"
        "{% for m in messages[::-1] %}{% if ns.open and m.role == 'user' %}"
        "{% set ns.open = false %}{% set ns.last = messages | length - 1 - loop.index0 %}"
        "{% endif %}{% endfor %}"
        "{% for m in messages %}"
        "{% if m.role == 'user' or (m.role == 'system' and not loop.first) %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
        "{% elif m.role == 'assistant' %}{% set content = m.content %}{% set thought = '' %}"
        "{% if '</think>' in content %}"
        "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
        "{% if loop.index0 > ns.last and (loop.last or thought) %}"
        "{{ '<|im_start|>assistant\n<think>\n' + thought + '\n</think>\n\n' + content }}"
        "{% else %}{{ '<|im_start|>assistant\n' + content }}{% endif %}{{ '<|im_end|>\n' }}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
    ),
    "phi-3": (
        "{% for m in messages %}{% if m['role'] == 'system' and m['content'] %}"
        "{{ '<|system|>\n' + m['content'] + '<|end|>\n' }}{% elif m['role'] == 'user' %}"
        "{{ '<|user|>\n' + m['content'] + '<|end|>\n' }}{% elif m['role'] == 'assistant' %}"
        "{{ '<|assistant|>\n' + m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
    ),
    "zephyr": (
        "{% for m in messages %}\n{% if m['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + m['content'] + eos_token }}\n{% elif m['role'] == 'system' %}\n"
        "{{ '<|system|>\n' + m['content'] + eos_token }}\n{% elif m['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\n' + m['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
        "{% endfor %}"
    ),
    "plain": (
        "{% for m in messages %}{{ '### ' + m['role'] | capitalize + ':\n' + m['content'] | trim }}"
        "{{ '\n\n' }}{% endfor %}{{ '### Assistant:\n' }}"
    ),
}


def chat_tokenizer(style: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """Makes a tokenizer of bytes, with the tokens of a style and its template, or another one."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(sorted(letters))}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    bos, eos, *others = TOKENS[style]
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=eos,
        pad_token=eos,
        additional_special_tokens=others,
    )
    made.chat_template = TEMPLATES[style] if template is None else template
    return made


def save_chat_tokenizer(style: str, folder: Path) -> None:
    """Saves the tokenizer of a style in `folder`."""
    chat_tokenizer(style).save_pretrained(folder)
